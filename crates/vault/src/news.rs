//! What the vault tells: events to the observer, changes to other instances; and what it hears from them.

use std::sync::Weak;
use std::time::Duration;

use bowerbird_core::ports::{AccountEvent, AccountEventKind, Change, ChangeListener};
use bowerbird_core::{ConnectionId, CredentialRecord, CredentialState};

use crate::Vault;
use crate::vault::Inner;

/// Telling others is a courtesy; nobody waits longer for it.
const TELLING_TAKES: Duration = Duration::from_millis(500);

impl Vault {
    /// New tokens are in the row. `repaired` when its access was in doubt, or needed a person.
    pub(crate) async fn tell_stored(&self, record: &CredentialRecord, state: &CredentialState, repaired: bool) {
        if let CredentialState::NeedsReauth(reason) = state {
            self.tell(record, AccountEventKind::NeedsReauth(*reason));
        } else {
            self.tell(record, AccountEventKind::Refreshed);
            if repaired {
                self.tell(record, AccountEventKind::Recovered);
            }
        }
        self.publish(record.connection).await;
    }

    pub(crate) fn tell(&self, record: &CredentialRecord, kind: AccountEventKind) {
        let event =
            AccountEvent { at: self.0.clock.now(), account: record.account, connection: record.connection, kind };
        self.0.surroundings.observer.event(&event);
    }

    /// Tells other instances that a row is not what they remember.
    pub(crate) async fn publish(&self, connection: ConnectionId) {
        let published = self.0.surroundings.changes.publish(Change::Credential(connection));
        if tokio::time::timeout(TELLING_TAKES, published).await.is_err() {
            tracing::debug!(%connection, "other instances were not told of a change in time");
        }
    }
}

/// Forgets what others changed. Holds the vault weakly: the feed outlives it.
pub(crate) struct Listener(pub(crate) Weak<Inner>);

impl ChangeListener for Listener {
    fn changed(&self, change: &Change) {
        if let (Some(inner), Change::Credential(connection)) = (self.0.upgrade(), change) {
            inner.opened.forget(*connection);
            inner.postponed.clear(*connection);
        }
    }

    fn missed(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.opened.forget_all();
        }
    }
}
