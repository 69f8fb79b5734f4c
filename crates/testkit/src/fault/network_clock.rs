//! The clock that all servers of one network read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::threads::wall_clock_millis;

/// The wall clock plus an offset, shared by clones: tokens expire when a test moves it, without waiting.
#[derive(Clone, Debug, Default)]
pub struct NetworkClock(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    offset_millis: AtomicI64,
    is_said: AtomicBool,
}

impl NetworkClock {
    /// Milliseconds since the epoch, as these servers see it.
    pub fn now_millis(&self) -> i64 {
        wall_clock_millis() + self.0.offset_millis.load(Ordering::Relaxed)
    }

    /// Seconds since the epoch, as these servers see it.
    pub fn now_seconds(&self) -> i64 {
        self.now_millis().div_euclid(1000)
    }

    /// Moves these servers' clock on (negative: back) by seconds. More than three minutes of difference to the client's
    /// clock makes its DPoP proofs invalid, as with the real server; move back once what had to expire has expired.
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.offset_millis.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// These servers' clock is that far off the client's for good, and every answer says so in its `Date`.
    pub fn set_off(&self, seconds: i64) {
        self.0.offset_millis.store(seconds * 1000, Ordering::Relaxed);
        self.0.is_said.store(true, Ordering::Relaxed);
    }

    /// Back to the wall clock.
    pub fn reset(&self) {
        self.0.offset_millis.store(0, Ordering::Relaxed);
        self.0.is_said.store(false, Ordering::Relaxed);
    }

    /// What an answer says in its `Date`, where that is not the wall clock's.
    pub(crate) fn said_date(&self) -> Option<String> {
        let now = UNIX_EPOCH + Duration::from_millis(self.now_millis().unsigned_abs());
        self.0.is_said.load(Ordering::Relaxed).then(|| httpdate::fmt_http_date(now))
    }
}
