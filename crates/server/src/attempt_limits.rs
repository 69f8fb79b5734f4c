//! How often app passwords may be tried (security row 75). Whoever guesses here does it at the account's own server, with
//! our address, and uses up what that server allows its owner: 30 in five minutes and 300 a day at a usual one, 100 a day
//! at the largest. So an attempt is counted before anything is sent for it, and under every name that the account has.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{BucketVerdict, Clock, RateBuckets};
use bowerbird_core::{Did, LoginIdentifier};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::rate_limit::household;

/// How many names each limit remembers at most; the least used one is forgotten first.
const MAX_NAMES: u64 = 50_000;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Attempts from one network.
    Network,
    /// Attempts for one account.
    Account,
    /// All attempts: the breaker.
    All,
}

/// An attempt that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) counted: Counted,
    /// In seconds.
    pub(crate) retry_after: u64,
}

/// The limits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AttemptLimits {
    clock: Arc<dyn Clock>,
    shared: Option<Arc<dyn RateBuckets>>,
    network: Limit,
    spelling: Limit,
    all: Limit,
    account: Limit,
    day: Limit,
}

/// So many in any stretch of so long, for each name.
#[derive(Clone)]
struct Limit {
    what: &'static str,
    counted: Counted,
    most: u32,
    window: Duration,
    /// When the last ones were, by the monotonic clock, under the hash of what they are counted by.
    taken: moka::sync::Cache<String, Arc<Mutex<VecDeque<Duration>>>>,
}

impl AttemptLimits {
    pub(crate) fn new(clock: Arc<dyn Clock>, shared: Option<Arc<dyn RateBuckets>>) -> Self {
        let quarter = Duration::from_mins(15);
        Self {
            clock,
            shared,
            network: Limit::new("network", Counted::Network, 20, Duration::from_hours(1)),
            // What was typed, so that a name which is tried again and again is not looked up every time.
            spelling: Limit::new("spelling", Counted::Account, 5, quarter),
            all: Limit::new("all", Counted::All, 300, Duration::from_mins(10)),
            account: Limit::new("account", Counted::Account, 5, quarter),
            // Half of the smallest daily quota that is known: the rest is its owner's.
            day: Limit::new("account-day", Counted::Account, 50, Duration::from_hours(24)),
        }
    }

    /// Counts an attempt before the account is looked up.
    pub(crate) async fn knock(&self, client: IpAddr, typed: &LoginIdentifier) -> Result<(), TooMany> {
        // The narrowest first: what one network may not do takes nothing from everybody.
        self.take(&self.network, &household(client).to_string()).await?;
        let spelling = match typed {
            LoginIdentifier::Handle(handle) => handle.as_str(),
            LoginIdentifier::Did(did) => did.as_str(),
            LoginIdentifier::Server(url) => url.as_str(),
        };
        self.take(&self.spelling, spelling).await?;
        self.take(&self.all, "").await
    }

    /// Counts it again before the password is sent, now that the account is known: it has several names, and one quota.
    pub(crate) async fn try_password(&self, account: &Did) -> Result<(), TooMany> {
        self.take(&self.account, account.as_str()).await?;
        self.take(&self.day, account.as_str()).await
    }

    /// This instance's own limit holds always; a flood that it stops costs the shared tier nothing.
    async fn take(&self, limit: &Limit, name: &str) -> Result<(), TooMany> {
        let key = hash(name);
        let too_many =
            |wait: Duration| TooMany { counted: limit.counted, retry_after: wait.as_secs().saturating_add(1) };
        limit.take_here(&key, self.clock.monotonic()).map_err(too_many)?;
        let Some(shared) = &self.shared else { return Ok(()) };
        match shared.take(&format!("app-password:{}:{key}", limit.what), limit.most, limit.window).await {
            BucketVerdict::Taken | BucketVerdict::Unknown => Ok(()),
            BucketVerdict::Wait(wait) => Err(too_many(wait)),
        }
    }
}

impl Limit {
    fn new(what: &'static str, counted: Counted, most: u32, window: Duration) -> Self {
        let taken = moka::sync::Cache::builder().max_capacity(MAX_NAMES).time_to_idle(window).build();
        Self { what, counted, most, window, taken }
    }

    /// Takes one; Err has the time until the next one.
    fn take_here(&self, key: &str, now: Duration) -> Result<(), Duration> {
        let taken = self.taken.get_with_by_ref(key, Arc::default);
        let mut taken = taken.lock();
        while taken.front().is_some_and(|at| now.saturating_sub(*at) >= self.window) {
            taken.pop_front();
        }
        match taken.front() {
            Some(oldest) if taken.len() >= self.most as usize => Err((*oldest + self.window).saturating_sub(now)),
            _ => {
                taken.push_back(now);
                Ok(())
            }
        }
    }
}

/// What was typed need not be remembered, nor told to a shared tier.
fn hash(name: &str) -> String {
    Sha256::digest(name)[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bowerbird_core::testing::TestClock;

    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    fn alone() -> (Arc<TestClock>, AttemptLimits) {
        let clock = Arc::new(TestClock::new());
        (Arc::clone(&clock), AttemptLimits::new(clock, None))
    }

    fn typed(text: &str) -> LoginIdentifier {
        LoginIdentifier::parse(text).unwrap()
    }

    fn network(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[tokio::test]
    async fn row_75_five_for_an_account_in_any_quarter_of_an_hour() {
        let (clock, limits) = alone();
        let did = Did::parse(DID).unwrap();
        let mut passed = 0;
        for minute in 0..60 {
            for _ in 0..20 {
                passed += u32::from(limits.try_password(&did).await.is_ok());
            }
            if minute == 14 {
                assert_eq!(passed, 5, "within a quarter of an hour");
                let refused = TooMany { counted: Counted::Account, retry_after: 61 };
                assert_eq!(limits.try_password(&did).await, Err(refused));
            }
            clock.advance(Duration::from_mins(1));
        }
        assert_eq!(passed, 20, "in an hour");
        let other = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        assert_eq!(limits.try_password(&other).await, Ok(()));
    }

    #[tokio::test]
    async fn row_75_the_daily_quota_of_an_account_stays_its_owners() {
        let (clock, limits) = alone();
        let did = Did::parse(DID).unwrap();
        let mut passed = 0;
        for _ in 0..(24 * 4) {
            for _ in 0..5 {
                passed += u32::from(limits.try_password(&did).await.is_ok());
            }
            clock.advance(Duration::from_mins(15));
        }
        assert_eq!(passed, 50);
    }

    #[tokio::test]
    async fn row_75_twenty_from_a_network_in_an_hour() {
        let (clock, limits) = alone();
        let mut passed = 0;
        for number in 0..1000 {
            let name = typed(&format!("user{number}.test"));
            let client = format!("2001:db8::{number:x}").parse().unwrap();
            passed += u32::from(limits.knock(client, &name).await.is_ok());
        }
        assert_eq!(passed, 20);
        assert_eq!(limits.knock(network(1), &typed("other.test")).await, Ok(()));
        clock.advance(Duration::from_hours(1));
        assert_eq!(limits.knock("2001:db8::1".parse().unwrap(), &typed("other.test")).await, Ok(()));
    }

    #[tokio::test]
    async fn row_75_a_name_counts_once_however_it_is_spelled() {
        let (_, limits) = alone();
        let mut passed = 0;
        for (number, text) in (0u32..).zip(["alice.test", "@alice.test", "ALICE.test", " at://Alice.Test"].repeat(250))
        {
            passed += u32::from(limits.knock(network(number), &typed(text)).await.is_ok());
        }
        assert_eq!(passed, 5);
    }

    #[tokio::test]
    async fn row_75_the_breaker_counts_them_all() {
        let (clock, limits) = alone();
        let mut last = Ok(());
        let mut passed = 0;
        for number in 0..1000 {
            last = limits.knock(network(number), &typed(&format!("user{number}.test"))).await;
            passed += u32::from(last.is_ok());
        }
        assert_eq!(passed, 300);
        assert_eq!(last, Err(TooMany { counted: Counted::All, retry_after: 601 }));
        clock.advance(Duration::from_mins(10));
        assert_eq!(limits.knock(network(5000), &typed("later.test")).await, Ok(()));
    }

    /// What two instances share.
    #[derive(Default)]
    struct SharedCounts(Mutex<HashMap<String, u32>>);

    #[async_trait::async_trait]
    impl RateBuckets for SharedCounts {
        async fn take(&self, bucket: &str, capacity: u32, window: Duration) -> BucketVerdict {
            assert!(bucket.starts_with("app-password:") && !bucket.contains("did:") && !bucket.contains("test"));
            let mut counts = self.0.lock();
            let count = counts.entry(bucket.to_owned()).or_default();
            *count += 1;
            if *count > capacity { BucketVerdict::Wait(window) } else { BucketVerdict::Taken }
        }
    }

    #[tokio::test]
    async fn row_75_instances_count_together() {
        let shared: Arc<dyn RateBuckets> = Arc::new(SharedCounts::default());
        let instance = || AttemptLimits::new(Arc::new(TestClock::new()), Some(Arc::clone(&shared)));
        let instances = [instance(), instance(), instance()];
        let did = Did::parse(DID).unwrap();
        let mut passed = 0;
        for limits in instances.iter().cycle().take(300) {
            passed += u32::from(limits.try_password(&did).await.is_ok());
        }
        assert_eq!(passed, 5);
        let mut knocked = 0;
        for (limits, number) in instances.iter().cycle().zip(0..300) {
            knocked += u32::from(limits.knock(network(number), &typed("alice.test")).await.is_ok());
        }
        assert_eq!(knocked, 5);
    }

    #[tokio::test]
    async fn a_tier_that_does_not_answer_changes_nothing() {
        struct Silent;
        #[async_trait::async_trait]
        impl RateBuckets for Silent {
            async fn take(&self, _: &str, _: u32, _: Duration) -> BucketVerdict {
                BucketVerdict::Unknown
            }
        }
        let limits = AttemptLimits::new(Arc::new(TestClock::new()), Some(Arc::new(Silent)));
        let did = Did::parse(DID).unwrap();
        let mut passed = 0;
        for _ in 0..100 {
            passed += u32::from(limits.try_password(&did).await.is_ok());
        }
        assert_eq!(passed, 5, "the limit of this instance holds");
    }
}
