//! The history of accounts: what their people can look up. Bounded for each account, and gone with it.

use async_trait::async_trait;

use super::StoreError;
use crate::{AccountId, NoticeId, SecurityEvent, Timestamp};

/// Where a walk over a history stands: the time and the name of the last entry that was given.
pub type EventPlace = (Timestamp, NoticeId);

/// What happened to accounts.
#[async_trait]
pub trait SecurityEventStore: Send + Sync {
    /// Adds entries. Those of accounts that are gone are left out, and of each account only the latest
    /// [`SecurityEvent::KEPT`] stay: whoever signs in and out all day fills nobody's disk.
    async fn note(&self, events: &[SecurityEvent]) -> Result<(), StoreError>;
    /// The entries of an account that are older than a place, the latest first, at most `limit`.
    async fn list(
        &self,
        account: AccountId,
        before: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<SecurityEvent>, StoreError>;
    /// Removes entries from before a time; returns how many.
    async fn purge(&self, before: Timestamp) -> Result<u64, StoreError>;
}
