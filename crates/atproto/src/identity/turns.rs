//! One at a time for each key: of many who want the same thing at once, one gets it, and the others find it there.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Beyond so many keys, those that nobody waits for any more are swept out. They are few: one for each reading under way.
const KEYS: usize = 256;

/// The turns, by key.
pub(super) struct Turns<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

/// A turn that came.
pub(super) struct Turn {
    held: OwnedMutexGuard<()>,
    waited: bool,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Turns<K> {
    /// Waits until nobody else has the turn of this key.
    pub(super) async fn take(&self, key: &K) -> Turn {
        let turn = self.of(key);
        match Arc::clone(&turn).try_lock_owned() {
            Ok(held) => Turn { held, waited: false },
            Err(_) => Turn { held: turn.lock_owned().await, waited: true },
        }
    }

    fn of(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock();
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= KEYS {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl Turn {
    /// Keeps the turn, unless it had to be waited for: whoever had it before found nothing, and a server that does not
    /// answer must not make those who wait ask it one after the other.
    pub(super) fn unless_waited(self) -> Option<OwnedMutexGuard<()>> {
        (!self.waited).then_some(self.held)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_goes_first_and_the_others_follow_together() {
        let turns = Turns::default();
        let first = turns.take(&"a").await.unless_waited();
        assert!(first.is_some());
        assert!(turns.take(&"b").now_or_never().is_some(), "another key is another turn");
        let (mut second, mut third) = (std::pin::pin!(turns.take(&"a")), std::pin::pin!(turns.take(&"a")));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        assert!(second.await.unless_waited().is_none());
        assert!(third.await.unless_waited().is_none());
    }

    #[tokio::test]
    async fn turns_that_are_over_are_forgotten() {
        let turns = Turns::default();
        let _held = turns.take(&0).await;
        for key in 1..10 * KEYS {
            drop(turns.take(&key).await);
        }
        assert!(turns.0.lock().len() <= KEYS);
        assert!(turns.take(&0).now_or_never().is_none(), "the one that is held is not");
    }
}
