//! Identifiers that this server makes.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ports::Entropy;

/// A text that is not an identifier of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not a valid identifier")]
pub struct IdError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a random (version 4) identifier.
            pub fn random(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// Parses the hyphenated form.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                // Exactly one spelling, so that two spellings never name one thing.
                Uuid::try_parse(text).ok().filter(|id| id.to_string() == text).map(Self).ok_or(IdError)
            }

            /// Wraps a UUID read from a store.
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id! {
    /// Names an account here; survives re-login, handle changes and upgrades.
    AccountId
}
uuid_id! {
    /// Names an account's link to one platform identity.
    ConnectionId
}

uuid_id! {
    /// Names something that was told.
    NoticeId
}

/// Names one browser or app install; 128 random bits in 32 lower-case hexadecimal digits.
///
/// Knowing it is not enough to use the session: the seal around it is what a client must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceSessionId(String);

impl DeviceSessionId {
    /// Makes a random identifier.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Self::from_bytes(bytes)
    }

    /// The identifier of 128 bits.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Parses 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DeviceSessionId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<DeviceSessionId> for String {
    fn from(id: DeviceSessionId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let text = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        assert_eq!(AccountId::parse(text).map(|id| id.to_string()).as_deref(), Ok(text));
        assert_eq!(AccountId::parse(&text.to_uppercase()), Err(IdError));
        assert_eq!(AccountId::parse(&text.replace('-', "")), Err(IdError));
        assert!(DeviceSessionId::parse("00000000000000000000000000000001").is_ok());
        assert_eq!(DeviceSessionId::parse("0000000000000000000000000000000G"), Err(IdError));
    }
}
