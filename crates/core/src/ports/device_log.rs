//! Which device sessions changed, in the order in which the changes were committed: what makes a copy of a session safe
//! to use without reading its row.
//!
//! A copy that was read when the log stood at revision `p` is still true at revision `q` if the log knows every change
//! after `p` and none of them is of that session. So an instance asks once for all its sessions what is new, instead of
//! once for each. It does not matter who kept the copy, where, or what became of it on the way: a copy that is put back
//! after a sign-out carries the revision of before, and the log tells.

use async_trait::async_trait;

use super::StoreError;
use crate::DeviceSessionId;

/// What a log of changes says at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceChanges {
    /// The revision of the latest change ever: all changes up to it are committed, and later ones get higher numbers.
    pub head: i64,
    /// Changes up to this revision may have been forgotten.
    pub floor: i64,
    /// The sessions that changed after the revision that was asked for, with the revision of their latest change.
    pub changed: Vec<(DeviceSessionId, i64)>,
}

/// The log. A change is one that a copy must not outlive: a session ended, moved to another name, or has other accounts
/// or another active one. Writing down use is none.
#[async_trait]
pub trait DeviceChangeLog: Send + Sync {
    /// What changed after a revision.
    async fn since(&self, revision: i64) -> Result<DeviceChanges, StoreError>;
    /// Forgets what changed longer ago than copies live; returns how many.
    async fn purge(&self) -> Result<u64, StoreError>;
}
