//! What the authorization server shall ask the person (`OpenID` Connect Core §3.1.2.1 and its `create` extension).

use std::{fmt, str::FromStr};

/// The `prompt` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing: answer at once or fail. Public clients are refused that.
    None,
    /// To sign in again.
    Login,
    /// For consent again.
    Consent,
    /// Which account to use.
    SelectAccount,
    /// To create an account.
    Create,
}

impl Prompt {
    const ALL: [Self; 5] = [Self::None, Self::Login, Self::Consent, Self::SelectAccount, Self::Create];

    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
            Self::Create => "create",
        }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Prompt {
    type Err = PromptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|prompt| prompt.as_str() == text).ok_or(PromptError)
    }
}

/// Not a value of `prompt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prompt must be one of none, login, consent, select_account, create")]
pub struct PromptError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact() {
        for prompt in Prompt::ALL {
            assert_eq!(prompt.as_str().parse(), Ok(prompt));
        }
        for bad in ["", "Login", "login consent", "select-account"] {
            assert_eq!(bad.parse::<Prompt>(), Err(PromptError), "{bad}");
        }
    }
}
