//! An account's link to one platform identity.

use std::fmt;

use crate::{AccountId, ConnectionId, Timestamp};

/// Names an entry of the platform registry, such as `atproto` or `mastodon`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

impl Platform {
    /// The account's own AT Protocol identity: the first connection of every account.
    pub fn atproto() -> Self {
        Self("atproto".to_owned())
    }

    /// Wraps a registry name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The registry name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection. Its credential is stored apart, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The stable name.
    pub id: ConnectionId,
    /// The owner.
    pub account: AccountId,
    /// Where the identity lives.
    pub platform: Platform,
    /// The identity's own key at the platform (for AT Protocol: the DID).
    pub subject: String,
    /// When it was made.
    pub created_at: Timestamp,
}
