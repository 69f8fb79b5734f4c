//! Copies of rows, and rate limits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{BucketVerdict, Clock, RateBuckets, SharedCache};

use crate::OpenError;
use crate::address::Address;
use crate::feed::RedisFeed;
use crate::link::{Link, Roots};

/// A Redis or Valkey as the shared fast tier of one installation. Cheap to clone; nothing in it is the truth.
#[derive(Clone)]
pub struct RedisTier {
    link: Link,
    feed: Arc<RedisFeed>,
    prefix: Arc<str>,
}

/// The generic cell rate algorithm in one step, by the server's clock: the theoretical arrival time of the next request
/// that would fit, in microseconds. Gives the microseconds to wait, 0 when one was taken. The numbers have 16 digits,
/// which Lua's own way of writing them would cut.
const TAKE: &str = "local time = redis.call('TIME') \
    local now = time[1] * 1000000 + time[2] \
    local interval = tonumber(ARGV[1]) \
    local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval \
    local wait = arrival - interval * tonumber(ARGV[2]) - now \
    if wait > 0 then return math.ceil(wait) end \
    redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000)) \
    return 0";

impl RedisTier {
    /// Prepares the tier of the installation `cluster_id` at an address (see `BOWERBIRD_REDIS_URL`). Nothing is sent yet,
    /// and a server that is not there is no error: everything works without it. Must be called inside a tokio runtime.
    ///
    /// `roots` are certificate authorities in PEM to trust instead of the system's.
    pub fn open(url: &str, cluster_id: &str, roots: Option<&[u8]>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let address = Address::parse(url)?;
        // The driver takes the process' provider; when another one is set already, that is the one.
        rustls::crypto::ring::default_provider().install_default().ok();
        let roots = Roots(roots.map(Arc::from));
        let link = Link::new(&address, &roots, clock)?;
        let prefix: Arc<str> = format!("bowerbird:{cluster_id}:").into();
        let feed = Arc::new(RedisFeed::start(address, roots, link.clone(), format!("{prefix}changes"))?);
        Ok(Self { link, feed, prefix })
    }

    /// The news between instances.
    pub fn feed(&self) -> Arc<RedisFeed> {
        Arc::clone(&self.feed)
    }

    /// Whether the server answers; for `bowerbird doctor`.
    pub async fn check(&self) -> Result<(), OpenError> {
        self.link.ping().await.map_err(OpenError::Client)
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl SharedCache for RedisTier {
    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.link.ask::<Option<Vec<u8>>>(redis::cmd("GET").arg(self.key(key))).await.flatten()
    }

    async fn put(&self, key: &str, value: &[u8], time_to_live: Duration) {
        let millis = u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX).max(1);
        let _: Option<()> = self.link.ask(redis::cmd("SET").arg(self.key(key)).arg(value).arg("PX").arg(millis)).await;
    }

    async fn remove(&self, key: &str) -> bool {
        self.link.ask::<u64>(redis::cmd("DEL").arg(self.key(key))).await.is_some()
    }
}

#[async_trait]
impl RateBuckets for RedisTier {
    async fn take(&self, bucket: &str, capacity: u32, window: Duration) -> BucketVerdict {
        let capacity = capacity.max(1);
        let interval = u64::try_from(window.as_micros()).unwrap_or(u64::MAX) / u64::from(capacity);
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(self.key(&format!("bucket:{bucket}"))).arg(interval.max(1)).arg(capacity);
        match self.link.ask::<u64>(&command).await {
            None => BucketVerdict::Unknown,
            Some(0) => BucketVerdict::Taken,
            Some(micros) => BucketVerdict::Wait(Duration::from_micros(micros)),
        }
    }
}

impl std::fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTier").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
