//! What was learned of each server in passing: its latest DPoP nonce, and how far its clock is from ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bowerbird_core::Timestamp;
use bowerbird_core::ports::{Clock, NoObserver, Observer};
use bowerbird_oauth::dpop::DpopNonce;
use http::{HeaderMap, header};

/// At most this many servers are remembered; those that nobody asked for the longest are forgotten (security row 31).
const REMEMBERED_SERVERS: u64 = 10_000;
/// A difference below this is the network's, or within what every server tolerates.
const TOLERATED_OFFSET_MILLIS: i64 = 5_000;
/// No honest clock is further off; more is a server that wants us to sign for another year.
const LARGEST_OFFSET_MILLIS: i64 = 26 * 3_600_000;

/// The memory, by origin. Cheap to clone; reads take no lock of ours.
#[derive(Clone)]
pub(crate) struct Servers {
    clock: Arc<dyn Clock>,
    nonces: moka::sync::Cache<String, Arc<KnownNonce>>,
    offsets: moka::sync::Cache<String, i64>,
    observer: Arc<dyn Observer>,
}

struct KnownNonce {
    nonce: DpopNonce,
    /// Seconds of the monotonic clock when the server last gave it.
    given_at: AtomicU64,
    doubted: AtomicBool,
}

impl Servers {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let bounded = || moka::sync::Cache::builder().max_capacity(REMEMBERED_SERVERS);
        let (nonces, offsets) = (bounded().build(), moka::sync::Cache::new(REMEMBERED_SERVERS));
        Self { clock, nonces, offsets, observer: Arc::new(NoObserver) }
    }

    /// Tells how often nonces cost a second attempt.
    pub(crate) fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// A server wanted another nonce than the one it got.
    pub(crate) fn nonce_retried(&self) {
        self.observer.nonce_retry();
    }

    /// The latest nonce of a server, however old: at worst it costs one more attempt.
    pub(crate) fn nonce(&self, origin: &str) -> Option<DpopNonce> {
        self.nonces.get(origin).map(|known| known.nonce.clone())
    }

    /// Whether the latest nonce was given less than `age` ago.
    pub(crate) fn has_nonce_younger_than(&self, origin: &str, age: Duration) -> bool {
        let now = self.clock.monotonic().as_secs();
        self.nonces.get(origin).is_some_and(|known| {
            let given_at = known.given_at.load(Ordering::Relaxed);
            !known.doubted.load(Ordering::Relaxed) && now.saturating_sub(given_at) < age.as_secs()
        })
    }

    /// Takes the latest nonce for an old one from now on, because something failed that it may have been the cause of.
    pub(crate) fn doubt_nonce(&self, origin: &str) {
        if let Some(known) = self.nonces.get(origin) {
            known.doubted.store(true, Ordering::Relaxed);
        }
    }

    /// Our own time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time as the server has it, for `iat`: an hour of difference must not end every login.
    pub(crate) fn now_at(&self, origin: &str) -> Timestamp {
        self.clock.now().plus_millis(self.offsets.get(origin).unwrap_or(0))
    }

    /// Learns from the head of any answer. True when it changed what we think of the server's clock, so that the same
    /// request may fare better when signed again.
    pub(crate) fn learn(&self, origin: &str, headers: &HeaderMap) -> bool {
        self.learn_nonce(origin, headers);
        self.learn_clock(origin, headers)
    }

    /// Learns only the nonce; for the hot path, where the clock is looked at when a server complains.
    pub(crate) fn learn_nonce(&self, origin: &str, headers: &HeaderMap) {
        let Some(nonce) = DpopNonce::from_headers(headers) else { return };
        let now = self.clock.monotonic().as_secs();
        match self.nonces.get(origin) {
            Some(known) if known.nonce == nonce => {
                known.given_at.store(now, Ordering::Relaxed);
                known.doubted.store(false, Ordering::Relaxed);
            }
            _ => {
                let known = KnownNonce { nonce, given_at: AtomicU64::new(now), doubted: AtomicBool::new(false) };
                self.nonces.insert(origin.to_owned(), Arc::new(known));
            }
        }
    }

    /// Compares the `Date` of an answer with our clock. True when the difference is another one than before.
    pub(crate) fn learn_clock(&self, origin: &str, headers: &HeaderMap) -> bool {
        let Some(date) = date_of(headers) else { return false };
        let difference = date.millis_since(self.clock.now());
        let offset = match difference.abs() {
            small if small < TOLERATED_OFFSET_MILLIS => 0,
            absurd if absurd > LARGEST_OFFSET_MILLIS => 0,
            _ => difference,
        };
        let before = self.offsets.get(origin).unwrap_or(0);
        if (offset - before).abs() < TOLERATED_OFFSET_MILLIS {
            return false;
        }
        tracing::warn!(origin, seconds = offset / 1000, "a server's clock is not ours; its own time is used for it");
        self.offsets.insert(origin.to_owned(), offset);
        true
    }
}

fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_secs()).ok().map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::TestClock;
    use http::HeaderValue;

    use super::*;

    const ORIGIN: &str = "https://as.test";

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    fn nonce(text: &str) -> HeaderMap {
        headers(bowerbird_oauth::dpop::DPOP_NONCE_HEADER, text)
    }

    #[test]
    fn the_latest_nonce_is_kept_by_origin_and_ages() {
        let clock = Arc::new(TestClock::new());
        let servers = Servers::new(clock.clone());
        assert!(servers.nonce(ORIGIN).is_none());
        servers.learn(ORIGIN, &nonce("one"));
        servers.learn(ORIGIN, &HeaderMap::new());
        assert_eq!(servers.nonce(ORIGIN).unwrap().as_str(), "one");
        assert!(servers.nonce("https://pds.test").is_none());
        clock.advance(Duration::from_secs(119));
        assert!(servers.has_nonce_younger_than(ORIGIN, Duration::from_mins(2)));
        clock.advance(Duration::from_secs(1));
        assert!(!servers.has_nonce_younger_than(ORIGIN, Duration::from_mins(2)));
        servers.learn(ORIGIN, &nonce("one"));
        assert!(servers.has_nonce_younger_than(ORIGIN, Duration::from_mins(2)), "given again, so still good");
        servers.doubt_nonce(ORIGIN);
        assert!(!servers.has_nonce_younger_than(ORIGIN, Duration::from_mins(2)));
        servers.learn(ORIGIN, &nonce("one"));
        assert!(servers.has_nonce_younger_than(ORIGIN, Duration::from_mins(2)));
    }

    #[test]
    fn row_31_unusable_nonces_are_dropped_and_the_memory_is_bounded() {
        let servers = Servers::new(Arc::new(TestClock::new()));
        servers.learn(ORIGIN, &nonce(&"n".repeat(10_240)));
        servers.learn(ORIGIN, &nonce("with space"));
        assert!(servers.nonce(ORIGIN).is_none());
        for number in 0..(REMEMBERED_SERVERS * 2) {
            servers.learn(&format!("https://{number}.test"), &nonce("n"));
        }
        servers.nonces.run_pending_tasks();
        assert!(servers.nonces.entry_count() <= REMEMBERED_SERVERS);
    }

    #[test]
    fn fault_row_12_an_hour_of_difference_is_made_up_for() {
        let clock = Arc::new(TestClock::new());
        let servers = Servers::new(clock.clone());
        // The test clock stands at 2026-01-01T00:00:00Z.
        assert!(!servers.learn(ORIGIN, &headers(header::DATE, "Thu, 01 Jan 2026 00:00:03 GMT")));
        assert_eq!(servers.now_at(ORIGIN), clock.now());
        assert!(servers.learn(ORIGIN, &headers(header::DATE, "Thu, 01 Jan 2026 01:00:00 GMT")));
        assert_eq!(servers.now_at(ORIGIN), clock.now().plus_seconds(3600));
        assert!(!servers.learn(ORIGIN, &headers(header::DATE, "Thu, 01 Jan 2026 01:00:01 GMT")));
        clock.advance(Duration::from_hours(2));
        assert!(servers.learn(ORIGIN, &headers(header::DATE, "Thu, 01 Jan 2026 02:00:00 GMT")));
        assert_eq!(servers.now_at(ORIGIN), clock.now());
        for absurd in ["Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 2037 00:00:00 GMT", "soon"] {
            assert!(!servers.learn(ORIGIN, &headers(header::DATE, absurd)), "{absurd}");
        }
    }
}
