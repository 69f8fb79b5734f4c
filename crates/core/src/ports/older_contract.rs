//! Which apps are still given their session in an address. The rules of [`super::stores`] hold here too.

use async_trait::async_trait;

use super::StoreError;
use crate::Timestamp;

/// An address of apps that the session itself was put into, as the older contract has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OlderContractUse {
    /// The address, as the operator configured it; nothing of what was put into it.
    pub address: String,
    /// When that was seen first.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// How often.
    pub times: u64,
}

impl OlderContractUse {
    /// How long after the last time the operator is warned: 30 days. An app that was mended is quiet by then.
    pub const WARNED_SECONDS: i64 = 30 * 86_400;

    /// Whether the operator is still to be warned.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.millis_since(self.last_at) < Self::WARNED_SECONDS * 1000
    }
}

/// Which addresses a session was put into: for the operator, over restarts.
#[async_trait]
pub trait OlderContractStore: Send + Sync {
    /// Counts one more session that was put into an address.
    async fn note(&self, address: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Lists every address, the one that was used last first.
    async fn list(&self) -> Result<Vec<OlderContractUse>, StoreError>;
}
