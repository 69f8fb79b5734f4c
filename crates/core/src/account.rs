//! A person's AT Protocol identity here.

use crate::{AccountId, Did, Timestamp};

/// An account: keyed by DID, named by a UUID that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The stable name.
    pub id: AccountId,
    /// The key.
    pub did: Did,
    /// The handle, verified in both directions at the last login, or [`crate::Handle::INVALID`]. Never a key.
    pub handle: String,
    /// The origin of the account's PDS at the last login, such as `https://morel.us-east.host.bsky.network`.
    pub pds: String,
    /// The public profile, as last seen.
    pub profile: Profile,
    /// When the account first signed in here.
    pub created_at: Timestamp,
    /// When the account last signed in here.
    pub last_login_at: Timestamp,
}

/// What is shown beside a handle. Untrusted text from outside: escape it, never interpret it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The display name.
    pub display_name: Option<String>,
    /// An https URL of the picture.
    pub avatar: Option<String>,
}
