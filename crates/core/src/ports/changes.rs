//! News between instances: what one changed, the others must forget.
//!
//! The news is a courtesy with a bound: every cache also trusts its entries for a limited time only, so that a lost
//! message means later, never wrong for good.

use std::sync::Arc;

use async_trait::async_trait;

use super::AccountNotice;
use crate::{AccountId, ConnectionId, DeviceSessionId};

/// What was changed; whoever keeps a copy of it drops the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device session: signed out, moved to a new name, or its accounts changed.
    DeviceSession(DeviceSessionId),
    /// A credential: renewed, replaced, removed, or its state changed.
    Credential(ConnectionId),
    /// An account: its profile, or it was removed.
    Account(AccountId),
    /// Nothing that anybody keeps a copy of: something happened to an account's access, for whoever follows it.
    Notice(AccountNotice),
}

impl Change {
    /// The change as one line of text, for a channel.
    pub fn to_message(&self) -> String {
        match self {
            Self::DeviceSession(id) => format!("device {id}"),
            Self::Credential(id) => format!("credential {id}"),
            Self::Account(id) => format!("account {id}"),
            Self::Notice(notice) => format!("notice {notice}"),
        }
    }

    /// Reads what [`Self::to_message`] wrote. None for everything else, which may come from a later version: its meaning
    /// is unknown, so that every copy should be dropped.
    pub fn from_message(message: &str) -> Option<Self> {
        let (kind, id) = message.split_once(' ')?;
        match kind {
            "device" => DeviceSessionId::parse(id).ok().map(Self::DeviceSession),
            "credential" => ConnectionId::parse(id).ok().map(Self::Credential),
            "account" => AccountId::parse(id).ok().map(Self::Account),
            "notice" => AccountNotice::parse(id).map(Self::Notice),
            _ => None,
        }
    }
}

/// Hears of changes.
pub trait ChangeListener: Send + Sync {
    /// Another instance (or this one) changed something. Must be quick and must not block.
    fn changed(&self, change: &Change);
    /// Messages may have been missed: forget every copy.
    fn missed(&self);
}

/// Carries changes between instances.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Tells every other instance. Best effort: the change itself is durable already, and failing to tell must not fail it.
    async fn publish(&self, change: Change);
    /// Registers somebody who wants to hear, for as long as the feed lives.
    fn listen(&self, listener: Arc<dyn ChangeListener>);
}

/// For a single instance: nobody else has copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoChangeFeed;

#[async_trait]
impl ChangeFeed for NoChangeFeed {
    async fn publish(&self, _change: Change) {}

    fn listen(&self, _listener: Arc<dyn ChangeListener>) {}
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::super::{AccountEvent, AccountEventKind};
    use super::*;
    use crate::testing::SeededEntropy;
    use crate::{NeedsReauth, NoticeId, Timestamp};

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let entropy = SeededEntropy::new(1);
        for change in [
            Change::DeviceSession(DeviceSessionId::random(&entropy)),
            Change::Credential(ConnectionId::random(&entropy)),
            Change::Account(AccountId::random(&entropy)),
        ] {
            assert_eq!(Change::from_message(&change.to_message()), Some(change));
        }
        let kinds = NeedsReauth::ALL.map(AccountEventKind::NeedsReauth);
        let others = [AccountEventKind::Refreshed, AccountEventKind::Recovered, AccountEventKind::OutcomeUnknown];
        for kind in kinds.into_iter().chain(others) {
            let (account, connection) = (AccountId::random(&entropy), ConnectionId::random(&entropy));
            let event = AccountEvent { at: Timestamp::from_millis(1_700_000_000_123), account, connection, kind };
            let notice = Change::Notice(AccountNotice { id: NoticeId::random(&entropy), event });
            assert_eq!(Change::from_message(&notice.to_message()), Some(notice));
        }
        for message in ["", "device", "device x", "other 0123", "credential 1\n", "notice 1 2 3 4 5", "notice"] {
            assert_eq!(Change::from_message(message), None, "{message:?}");
        }
    }
}
