//! The clock that all servers of one network read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::threads::wall_clock_millis;

/// The wall clock plus an offset, shared by clones: tokens expire when a test moves it, without waiting.
#[derive(Clone, Debug, Default)]
pub struct NetworkClock(Arc<AtomicI64>);

impl NetworkClock {
    /// Milliseconds since the epoch, as these servers see it.
    pub fn now_millis(&self) -> i64 {
        wall_clock_millis() + self.0.load(Ordering::Relaxed)
    }

    /// Seconds since the epoch, as these servers see it.
    pub fn now_seconds(&self) -> i64 {
        self.now_millis().div_euclid(1000)
    }

    /// Moves these servers' clock on (negative: back) by seconds. More than three minutes of difference to the client's
    /// clock makes its DPoP proofs invalid, as with the real server; move back once what had to expire has expired.
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Back to the wall clock.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
