//! Token buckets per client address, for the requests that make this server call others: in memory, and shared by all
//! instances where there is something to share them by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{BucketVerdict, Clock, RateBuckets};
use parking_lot::Mutex;

/// How many client addresses are remembered at most; the least used one is forgotten first.
const MAX_CLIENTS: u64 = 50_000;
/// Logins that may begin at once from one address.
const BURST: u32 = 60;
/// Logins per second and address after that.
const PER_SECOND: f64 = 1.0;

/// Limits logins per client address (security row 17). Cheap to clone.
#[derive(Clone)]
pub(crate) struct LoginLimiter {
    clock: Arc<dyn Clock>,
    buckets: moka::sync::Cache<IpAddr, Arc<Mutex<Bucket>>>,
    shared: Option<Arc<dyn RateBuckets>>,
}

struct Bucket {
    left: f64,
    at: Duration,
}

impl LoginLimiter {
    pub(crate) fn new(clock: Arc<dyn Clock>, shared: Option<Arc<dyn RateBuckets>>) -> Self {
        let buckets = moka::sync::Cache::builder().max_capacity(MAX_CLIENTS).time_to_idle(Duration::from_mins(10));
        Self { clock, buckets: buckets.build(), shared }
    }

    /// Counts one; Err has the seconds to wait. This instance's own limit holds always; a flood that it stops costs the
    /// shared tier nothing.
    pub(crate) async fn take(&self, client: IpAddr) -> Result<(), u64> {
        self.take_here(client)?;
        let Some(shared) = &self.shared else { return Ok(()) };
        let window = Duration::from_secs_f64(f64::from(BURST) / PER_SECOND);
        match shared.take(&format!("login:{}", household(client)), BURST, window).await {
            BucketVerdict::Taken | BucketVerdict::Unknown => Ok(()),
            BucketVerdict::Wait(wait) => Err(wait.as_secs() + 1),
        }
    }

    fn take_here(&self, client: IpAddr) -> Result<(), u64> {
        let now = self.clock.monotonic();
        let new = || Arc::new(Mutex::new(Bucket { left: f64::from(BURST), at: now }));
        let bucket = self.buckets.get_with(household(client), new);
        let mut bucket = bucket.lock();
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * PER_SECOND).min(f64::from(BURST));
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.left) / PER_SECOND);
        Err(wait.as_secs() + 1)
    }
}

/// One customer of an IPv6 provider has a /64 at least.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::TestClock;

    use super::*;

    #[test]
    fn a_flood_is_stopped_and_time_heals() {
        let clock = Arc::new(TestClock::new());
        let limiter = LoginLimiter::new(Arc::clone(&clock) as _, None);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let passed = (0..1000).filter(|_| limiter.take_here(one).is_ok()).count();
        assert_eq!(passed, 60);
        assert_eq!(limiter.take_here(one), Err(2));
        assert_eq!(limiter.take_here(two), Ok(()), "others are not affected");
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.take_here(one), Ok(()));
        assert!(limiter.take_here(one).is_err());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limiter = LoginLimiter::new(Arc::new(TestClock::new()), None);
        let passed =
            (0..1000u64).filter(|&i| limiter.take_here(format!("2001:db8::{i:x}").parse().unwrap()).is_ok()).count();
        assert_eq!(passed, 60);
        assert!(limiter.take_here("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    struct Says(BucketVerdict);

    #[async_trait::async_trait]
    impl RateBuckets for Says {
        async fn take(&self, bucket: &str, capacity: u32, window: Duration) -> BucketVerdict {
            assert_eq!((bucket, capacity, window), ("login:192.0.2.1", 60, Duration::from_mins(1)));
            self.0
        }
    }

    #[tokio::test]
    async fn what_others_counted_counts_here_and_silence_does_not() {
        let client = "192.0.2.1".parse().unwrap();
        let with = |verdict| LoginLimiter::new(Arc::new(TestClock::new()), Some(Arc::new(Says(verdict))));
        assert_eq!(with(BucketVerdict::Taken).take(client).await, Ok(()));
        assert_eq!(with(BucketVerdict::Wait(Duration::from_millis(2500))).take(client).await, Err(3));
        let alone = with(BucketVerdict::Unknown);
        let mut passed = 0;
        for _ in 0..100 {
            passed += u32::from(alone.take(client).await.is_ok());
        }
        assert_eq!(passed, 60, "the limit of this instance holds");
    }
}
