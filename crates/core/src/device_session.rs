//! One browser or app install, and the accounts signed in on it.

use crate::{AccountId, DeviceSessionId, Timestamp};

/// A device session. The row decides whether it is alive; a seal only names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSession {
    /// The name.
    pub id: DeviceSessionId,
    /// When it began; it never moves.
    pub created_at: Timestamp,
    /// The last use that was written down (written at most every few minutes).
    pub last_seen_at: Timestamp,
    /// When it ends unless used before; moves with use.
    pub expires_at: Timestamp,
    /// A short name for people, such as `Firefox on Linux`.
    pub device_name: String,
    /// The account that calls use unless they name another. None only when no account is left.
    pub active: Option<AccountId>,
    /// The accounts signed in on this device, oldest first.
    pub accounts: Vec<DeviceAccount>,
}

/// An account's place on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccount {
    /// The account.
    pub account: AccountId,
    /// When it was added to the device.
    pub added_at: Timestamp,
}

impl DeviceSession {
    /// The most accounts that a device may hold.
    pub const MAX_ACCOUNTS: usize = 100;

    /// Whether the device has no place for one more account. One that it holds can sign in again, always.
    pub fn is_full_for(&self, account: AccountId) -> bool {
        self.accounts.len() >= Self::MAX_ACCOUNTS && !self.holds(account)
    }

    /// Whether the account is signed in on this device.
    pub fn holds(&self, account: AccountId) -> bool {
        self.accounts.iter().any(|entry| entry.account == account)
    }

    /// Whether the session is alive at a point in time.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
