//! When a sweep should refresh a credential again.

use bowerbird_core::refresh::{due_in_use, due_unused};
use bowerbird_core::{CredentialRecord, CredentialState, RefreshClass, Schedule, Timestamp};

use crate::Vault;

const DAY_SECONDS: i64 = 86_400;
/// A public client's refresh token ends two weeks after its last use.
const KEEP_ALIVE_PUBLIC_SECONDS: i64 = 5 * DAY_SECONDS;
/// A confidential client's ends after three months, an app password's session after 90 days.
const KEEP_ALIVE_SECONDS: i64 = 30 * DAY_SECONDS;
/// The sweep leaves tokens of a very short life to those who ask for them.
const SOONEST_SECONDS: i64 = 600;

impl Vault {
    /// The schedule of a row whose tokens are new: while it is in use (`used_at`), before the access token ends; else well
    /// inside the idle limit of its refresh token.
    pub(crate) fn schedule(&self, record: &CredentialRecord) -> Schedule {
        let due_at = (record.state == CredentialState::Ok && record.tokens.refresh_token.is_some())
            .then(|| self.due_at(record, self.0.clock.now()));
        Schedule { due_at, ..Schedule::default() }
    }

    fn due_at(&self, record: &CredentialRecord, now: Timestamp) -> Timestamp {
        let issued_at = record.tokens.issued_at;
        let keep_fresh = i64::try_from(self.0.config.keep_fresh.as_millis()).unwrap_or(i64::MAX);
        if now.millis_since(record.used_at) <= keep_fresh {
            let due_at = due_in_use(issued_at, record.tokens.access_expires_at, self.spread());
            return due_at.max(issued_at.plus_seconds(SOONEST_SECONDS));
        }
        let every = match (record.refresh_class, &record.client_kid) {
            (RefreshClass::SingleUse, None) => KEEP_ALIVE_PUBLIC_SECONDS,
            (RefreshClass::SingleUse, Some(_)) | (RefreshClass::Graceful, _) => KEEP_ALIVE_SECONDS,
        };
        due_unused(issued_at, every, self.spread())
    }

    fn spread(&self) -> u32 {
        let mut bytes = [0; 4];
        self.0.entropy.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }
}
