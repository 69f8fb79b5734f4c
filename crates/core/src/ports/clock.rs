//! The clock.

use std::time::Duration;

use crate::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The wall clock. May jump; never used to measure how long something took.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start. Never goes back, and counts while the machine sleeps: who took a lease before and
    /// wakes up after must notice.
    fn monotonic(&self) -> Duration;
}
