//! The stores behind the hand-off to apps. The rules of [`super::stores`] hold here too.

use async_trait::async_trait;

use super::StoreError;
use crate::{DeviceSessionId, Handoff, HandoffCodeHash, Redemption, Renewal, RenewalLine, Timestamp};

/// One-time codes that wait for their apps.
#[async_trait]
pub trait HandoffStore: Send + Sync {
    /// Adds one. [`StoreError::Refused`] when the account is gone.
    async fn insert(&self, handoff: &Handoff) -> Result<(), StoreError>;
    /// Reads and removes in one step if `proof` is exactly the record's challenge (None: neither has one); of any number
    /// of callers one gets it. Otherwise counts a wrong try, and removes the code at the third
    /// ([`crate::HANDOFF_TRIES`]).
    async fn redeem(
        &self,
        code: &HandoffCodeHash,
        proof: Option<&str>,
        now: Timestamp,
    ) -> Result<Redemption, StoreError>;
    /// Takes a code back, whatever its challenge is; of any number of callers one gets it.
    async fn withdraw(&self, code: &HandoffCodeHash) -> Result<Option<Handoff>, StoreError>;
    /// Removes what has expired; returns how many.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Where the lines of refresh strings stand. A line goes with its device session, and moves with its name.
#[async_trait]
pub trait RenewalStore: Send + Sync {
    /// Begins a line at place 1; one that the session had before ends. [`StoreError::Refused`] when the session is gone.
    async fn begin(&self, device: &DeviceSessionId, line: &RenewalLine) -> Result<(), StoreError>;
    /// Presents the string at a place. One that is ahead of what is stored counts as the newest: only a restored database
    /// can be behind a string that is authentic.
    async fn renew(&self, line: &RenewalLine, place: i64, now: Timestamp) -> Result<Renewal, StoreError>;
}
