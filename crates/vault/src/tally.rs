//! A count of what happens too often to be told: checkouts answered from memory take a tenth of a microsecond, which a
//! shared counter that every core writes to would double.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads that count without getting into each other's way. More of them share, and are still counted right.
const SHARDS: usize = 16;

/// Counts from many threads. Reading is dear, adding is not: no lock, and as a rule no cache line that another core has.
#[derive(Default)]
pub(crate) struct Tally([Shard; SHARDS]);

/// Alone on two cache lines, since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

/// Which place the next thread gets.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

impl Tally {
    /// Counts one more.
    pub(crate) fn add(&self) {
        let place = PLACE.try_with(|place| *place).unwrap_or_default();
        if let Some(Shard(number)) = self.0.get(place) {
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|Shard(number)| number.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_more_threads_than_places() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 5 {
                scope.spawn(|| (0..10_000).for_each(|_| tally.add()));
            }
        });
        assert_eq!(tally.sum(), (SHARDS as u64 + 5) * 10_000);
    }
}
