//! The shared fast tier (Redis or Valkey): what makes several instances fast together. Nothing in it is the truth, and
//! all of it may be lost at any moment: correct without, only slower. Never a refresh token.

use std::time::Duration;

use async_trait::async_trait;

/// Copies of rows, sealed by whoever puts them in. A failure of the tier is a miss, never an error.
#[async_trait]
pub trait SharedCache: Send + Sync {
    /// The value of a key; None also when the tier cannot be asked in time.
    async fn get(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps a value for a while.
    async fn put(&self, key: &str, value: &[u8], time_to_live: Duration);
    /// Drops a value. True when the tier confirmed it. Nothing correct may hang from that: a copy may be put back by
    /// somebody who read it before, and a tier that was restarted may remember it.
    async fn remove(&self, key: &str) -> bool;
}

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketVerdict {
    /// Go on.
    Taken,
    /// Not before this much time has passed.
    Wait(Duration),
    /// The tier cannot be asked; decide by the limits of this instance alone.
    Unknown,
}

/// Rate limits that all instances share.
#[async_trait]
pub trait RateBuckets: Send + Sync {
    /// Takes one from a bucket that holds `capacity` and fills up evenly over `window`.
    async fn take(&self, bucket: &str, capacity: u32, window: Duration) -> BucketVerdict;
}
