//! The live clients: whose seals are in memory. One by default; the least recently used one is released first.

use std::collections::VecDeque;
use std::sync::Arc;

use bowerbird_core::AccountId;

#[cfg(feature = "on-device")]
use crate::on_device::grant::Grant;
use crate::session::Session;

/// What a live client holds: the secrets of its account.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// A seal of the Bowerbird server.
    Session(Arc<Session>),
    /// Tokens of the account's own server.
    #[cfg(feature = "on-device")]
    Grant(Arc<Grant>),
}

/// Most recently used first.
#[derive(Debug)]
pub(crate) struct LiveClients {
    capacity: usize,
    clients: VecDeque<(AccountId, Held)>,
}

impl LiveClients {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), clients: VecDeque::new() }
    }

    pub(crate) fn get(&mut self, id: AccountId) -> Option<Held> {
        let place = self.clients.iter().position(|(known, _)| *known == id)?;
        let client = self.clients.remove(place)?;
        let held = client.1.clone();
        self.clients.push_front(client);
        Some(held)
    }

    pub(crate) fn put(&mut self, id: AccountId, held: Held) {
        self.forget(id);
        self.clients.push_front((id, held));
        self.clients.truncate(self.capacity);
    }

    /// Replaces what a live client holds; makes none live.
    pub(crate) fn refresh(&mut self, id: AccountId, held: &Held) {
        if let Some((_, known)) = self.clients.iter_mut().find(|(known, _)| *known == id) {
            *known = held.clone();
        }
    }

    pub(crate) fn forget(&mut self, id: AccountId) {
        self.clients.retain(|(known, _)| *known != id);
    }

    pub(crate) fn ids(&self) -> Vec<AccountId> {
        self.clients.iter().map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;
    use bowerbird_core::{Secret, Timestamp};

    use super::*;

    fn session() -> Arc<Session> {
        let (issued_at, expires_at) = (Timestamp::EPOCH, None);
        Arc::new(Session { access_token: Secret::new("s"), refresh_token: None, issued_at, expires_at })
    }

    #[test]
    fn the_least_recently_used_is_released() {
        let entropy = SeededEntropy::new(1);
        let [a, b, c] = std::array::from_fn(|_| AccountId::random(&entropy));
        let mut live = LiveClients::new(2);
        let released = session();
        live.put(a, Held::Session(session()));
        live.put(b, Held::Session(released.clone()));
        assert!(live.get(a).is_some());
        live.put(c, Held::Session(session()));
        assert_eq!(live.ids(), [c, a]);
        assert_eq!(Arc::strong_count(&released), 1, "its seal is out of memory");
        live.refresh(b, &Held::Session(session()));
        assert_eq!(live.ids(), [c, a], "a renewal makes nobody live");
        live.forget(c);
        assert_eq!(live.ids(), [a]);
    }
}
