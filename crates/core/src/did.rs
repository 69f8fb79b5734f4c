//! Decentralized identifiers, the only key of an account (AT Protocol specification, "DID").

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest DID that the AT Protocol accepts, in bytes.
const MAX_LENGTH: usize = 2048;

/// A syntactically valid DID; says nothing about whether it resolves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Did(String);

/// The DID methods that the AT Protocol blesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DidMethod {
    /// `did:plc:…`, resolved at the PLC directory.
    Plc,
    /// `did:web:host`, resolved at the host's `/.well-known/did.json`.
    Web,
}

/// Why a text is not a DID that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    /// The text does not follow the DID grammar.
    #[error("that is not a DID; a DID looks like did:plc:abc123")]
    Syntax,
    /// The DID is longer than 2048 bytes.
    #[error("that DID is longer than 2048 characters")]
    TooLong,
    /// The method is neither `plc` nor `web`, or its own part is malformed.
    #[error("that DID's method is not supported; use did:plc or did:web")]
    Unsupported,
}

impl Did {
    /// Parses by the AT Protocol's DID grammar: lower-case method, restricted ASCII, no trailing `:` or `%`.
    ///
    /// ```
    /// # use bowerbird_core::Did;
    /// assert!(Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").is_ok());
    /// assert!(Did::parse("did:plc:").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, DidError> {
        if text.len() > MAX_LENGTH {
            return Err(DidError::TooLong);
        }
        let rest = text.strip_prefix("did:").ok_or(DidError::Syntax)?;
        let (method, body) = rest.split_once(':').ok_or(DidError::Syntax)?;
        let method_ok = !method.is_empty() && method.bytes().all(|b| b.is_ascii_lowercase());
        let body_ok = body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'%' | b'-'))
            && body.bytes().last().is_some_and(|b| !matches!(b, b':' | b'%'));
        if method_ok && body_ok { Ok(Self(text.to_owned())) } else { Err(DidError::Syntax) }
    }

    /// The method, with the checks that its own part needs: `plc` is 24 base32 characters, `web` is a host without a
    /// path (the AT Protocol forbids path-based did:web; a port, `%3A`, is only for development and checked by the
    /// resolver).
    pub fn method(&self) -> Result<DidMethod, DidError> {
        if let Some(id) = self.0.strip_prefix("did:plc:") {
            let base32 = id.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
            return if id.len() == 24 && base32 { Ok(DidMethod::Plc) } else { Err(DidError::Unsupported) };
        }
        match self.0.strip_prefix("did:web:") {
            Some(host) if !host.contains(':') => Ok(DidMethod::Web),
            _ => Err(DidError::Unsupported),
        }
    }

    /// The text, as it was parsed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Did {
    type Error = DidError;
    fn try_from(text: String) -> Result<Self, DidError> {
        Self::parse(&text)
    }
}

impl From<Did> for String {
    fn from(did: Did) -> Self {
        did.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_and_invalid_by_the_specification() {
        for good in ["did:plc:z72i7hdynmk6r22z27h6tvur", "did:web:blueskyweb.xyz", "did:method:val:two", "did:m:v%BB"] {
            assert!(Did::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "did",
            "did:",
            "did:plc",
            "did:plc:",
            "DID:plc:a",
            "did:PLC:a",
            "did:a:b:",
            "did:a:b%",
            "did:a:b/c",
            "did:a:b?c",
            "did:a:b#c",
            "did:a:b c",
            "did:a:b\r\n",
        ] {
            assert_eq!(Did::parse(bad), Err(DidError::Syntax), "{bad:?}");
        }
        assert_eq!(Did::parse(&format!("did:plc:{}", "a".repeat(2048))), Err(DidError::TooLong));
    }

    #[test]
    fn methods_have_their_own_rules() {
        let method = |text: &str| Did::parse(text).and_then(|did| did.method());
        assert_eq!(method("did:plc:z72i7hdynmk6r22z27h6tvur"), Ok(DidMethod::Plc));
        assert_eq!(method("did:plc:short"), Err(DidError::Unsupported));
        assert_eq!(method("did:web:example.com"), Ok(DidMethod::Web));
        assert_eq!(method("did:web:localhost%3A3000"), Ok(DidMethod::Web));
        assert_eq!(method("did:web:example.com:u:bob"), Err(DidError::Unsupported));
        assert_eq!(method("did:key:zQ3sh"), Err(DidError::Unsupported));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in "\\PC{0,64}") {
            if let Ok(did) = Did::parse(&text) {
                prop_assert_eq!(did.as_str(), text);
            }
        }
    }
}
