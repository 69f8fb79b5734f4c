//! Handles: DNS names that people type (AT Protocol specification, "Handle").

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest DNS name, in bytes.
const MAX_LENGTH: usize = 253;
/// Top-level names that can never carry a handle in public; `.test` is left to development networks.
const RESERVED_TLDS: [&str; 8] = ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// A syntactically valid handle in lower case; says nothing about whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handle(String);

/// Why a text is not a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The text is not a DNS name of at least two labels.
    #[error("that is not a handle; a handle looks like alice.bsky.social")]
    Syntax,
    /// The name ends in a top-level name that is reserved.
    #[error("that handle ends in a reserved name and cannot exist")]
    Reserved,
}

impl Handle {
    /// What is shown where an account's handle does not point back to it.
    pub const INVALID: &'static str = "handle.invalid";

    /// Parses and lower-cases. Accepts neither a leading `@` nor spaces: a page strips those, a protocol must not.
    ///
    /// ```
    /// # use bowerbird_core::Handle;
    /// assert_eq!(Handle::parse("Alice.Bsky.Social").map(|h| h.to_string()).as_deref(), Ok("alice.bsky.social"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, HandleError> {
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return Err(HandleError::Syntax);
        }
        let name = text.to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        let (Some(tld), true) = (labels.last(), labels.len() >= 2) else {
            return Err(HandleError::Syntax);
        };
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !labels.iter().all(|label| label_ok(label)) || tld.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(HandleError::Syntax);
        }
        if RESERVED_TLDS.contains(tld) {
            return Err(HandleError::Reserved);
        }
        Ok(Self(name))
    }

    /// The lower-case text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Handle {
    type Error = HandleError;
    fn try_from(text: String) -> Result<Self, HandleError> {
        Self::parse(&text)
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_and_invalid_by_the_specification() {
        for good in ["jay.bsky.social", "8.cn", "name.t--t", "xn--notarealidn.com", "alice.test", "a.co"] {
            assert!(Handle::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "alice",
            "jo@hn.test",
            "john..test",
            "xn--bcher-.tld",
            "john.0",
            "cn.8",
            "www.masełkowski.pl.com",
            "org",
            "-a.com",
            "a-.com",
            "john.test.",
            " a.com",
            "a.com\n",
            "@a.com",
        ] {
            assert_eq!(Handle::parse(bad), Err(HandleError::Syntax), "{bad:?}");
        }
        for bad in ["laptop.local", "blah.arpa", "handle.invalid", "a.localhost"] {
            assert_eq!(Handle::parse(bad), Err(HandleError::Reserved), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,64}") {
            if let Ok(handle) = Handle::parse(&text) {
                prop_assert_eq!(Handle::parse(handle.as_str()), Ok(handle));
            }
        }
    }
}
