//! Short memories that age by the clock port.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::Clock;

/// How long an identity or a metadata document may be used again (under ten minutes: AT Protocol OAuth
/// specification, "Identity authentication").
pub(crate) const LOOKUP_LIFE: Duration = Duration::from_mins(9);

/// How long an account's document is good for the next one who asks. It decides whether somebody may sign in, and where,
/// and people change it just before they do: no longer than it takes to serve those who ask at once, and a flood of them,
/// with one reading.
pub(crate) const JUST_READ: Duration = Duration::from_secs(2);

/// A bounded map whose entries are good for a fixed time.
///
/// The age is taken from the clock port and not from the map's own, so that a test can let an entry grow old.
#[derive(Clone)]
pub(crate) struct AgingCache<K, V> {
    entries: moka::sync::Cache<K, (Duration, V)>,
    life: Duration,
    clock: Arc<dyn Clock>,
}

impl<K, V> AgingCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A cache of at most `capacity` entries.
    pub(crate) fn new(capacity: u64, life: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { entries: moka::sync::Cache::builder().max_capacity(capacity).build(), life, clock }
    }

    /// The entry, if it is young enough.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.younger(key, self.life)
    }

    /// The entry, if it is younger than that, and young enough at all.
    pub(crate) fn younger<Q>(&self, key: &Q, than: Duration) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (at, value) = self.entries.get(key)?;
        (self.clock.monotonic().saturating_sub(at) < self.life.min(than)).then_some(value)
    }

    /// Puts an entry, new from now on.
    pub(crate) fn put(&self, key: K, value: V) {
        self.entries.insert(key, (self.clock.monotonic(), value));
    }

    /// Takes an entry out.
    pub(crate) fn forget<Q>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::TestClock;

    use super::*;

    #[test]
    fn entries_grow_old_by_the_clock_port() {
        let clock = Arc::new(TestClock::new());
        let cache = AgingCache::new(8, LOOKUP_LIFE, clock.clone());
        cache.put("a".to_owned(), 1);
        clock.advance(Duration::from_secs(539));
        assert_eq!(cache.get("a"), Some(1));
        assert_eq!(cache.younger("a", Duration::from_secs(539)), None);
        assert_eq!(cache.younger("a", Duration::from_hours(1)), Some(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!((cache.get("a"), cache.younger("a", Duration::from_hours(1))), (None, None));
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing() {
        let clock = Arc::new(TestClock::new());
        let cache = AgingCache::new(8, LOOKUP_LIFE, clock.clone());
        cache.put("a".to_owned(), 1);
        clock.jump_to(bowerbird_core::Timestamp::EPOCH);
        assert_eq!(cache.get("a"), Some(1));
    }
}
