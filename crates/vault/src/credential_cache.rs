//! Credentials that were opened a moment ago: the fast path of a checkout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowerbird_core::refresh::{self, RefreshDecision};
use bowerbird_core::{ConnectionId, CredentialRecord, CredentialState, Timestamp};
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::checkout::UsableCredential;

/// An opened credential, with what the decision about it needs.
#[derive(Clone)]
pub(crate) struct OpenedCredential {
    pub(crate) usable: Arc<UsableCredential>,
    state: CredentialState,
    not_before: Option<Timestamp>,
    issued_at: Timestamp,
    has_refresh_token: bool,
}

impl OpenedCredential {
    pub(crate) fn new(usable: UsableCredential, record: &CredentialRecord) -> Self {
        Self {
            usable: Arc::new(usable),
            state: record.state.clone(),
            not_before: record.schedule.not_before,
            issued_at: record.tokens.issued_at,
            has_refresh_token: record.tokens.refresh_token.is_some(),
        }
    }

    pub(crate) fn decide(&self, now: Timestamp) -> RefreshDecision {
        let (state, expires_at) = (&self.state, self.usable.expires_at);
        refresh::decide(state, self.not_before, self.issued_at, expires_at, self.has_refresh_token, now)
    }
}

/// A bounded set of them; dropping one overwrites its secrets.
///
/// The danger of such a cache is a slow reader: it read the row, then somebody wrote and forgot the old entry, then
/// the reader puts the old row's content in. So every reader takes the epoch *before* it reads the row, and what it
/// opened is kept only if no connection was forgotten since. Putting and forgetting lock the entry, so that no
/// forgetting slips in between the check and the insertion.
pub(crate) struct CredentialCache {
    entries: Cache<ConnectionId, OpenedCredential>,
    epoch: AtomicU64,
}

/// A moment in the life of the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl CredentialCache {
    pub(crate) fn new(capacity: u64, time_to_live: Duration) -> Self {
        let entries = Cache::builder().max_capacity(capacity).time_to_live(time_to_live).build();
        Self { entries, epoch: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, connection: ConnectionId) -> Option<OpenedCredential> {
        self.entries.get(&connection)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    pub(crate) fn put(&self, connection: ConnectionId, opened: &OpenedCredential, read_at: Epoch) {
        self.entries
            .entry(connection)
            .and_compute_with(|_| if self.epoch() == read_at { Op::Put(opened.clone()) } else { Op::Nop });
    }

    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.entries.entry(connection).and_compute_with(|_| Op::Remove);
    }

    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;
    use bowerbird_core::{Did, Generation, Secret};
    use bowerbird_oauth::SigningKey;

    use super::*;

    fn opened(generation: i64) -> OpenedCredential {
        let usable = UsableCredential {
            access_token: Secret::new("at"),
            dpop_key: Some(SigningKey::from_scalar(&[9; 32]).unwrap()),
            audience: String::new(),
            issuer: String::new(),
            scope: String::new(),
            subject: Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap(),
            generation: Generation(generation),
            expires_at: Timestamp::from_seconds(100),
        };
        OpenedCredential {
            usable: Arc::new(usable),
            state: CredentialState::Ok,
            not_before: None,
            issued_at: Timestamp::EPOCH,
            has_refresh_token: true,
        }
    }

    #[test]
    fn a_slow_reader_does_not_bring_back_what_was_forgotten() {
        let cache = CredentialCache::new(10, Duration::from_mins(1));
        let connection = ConnectionId::random(&SeededEntropy::new(1));
        let read_at = cache.epoch();
        cache.forget(connection);
        cache.put(connection, &opened(1), read_at);
        assert!(cache.get(connection).is_none());
        cache.put(connection, &opened(2), cache.epoch());
        assert_eq!(cache.get(connection).map(|opened| opened.usable.generation), Some(Generation(2)));
        cache.forget(connection);
        assert!(cache.get(connection).is_none());
    }
}
