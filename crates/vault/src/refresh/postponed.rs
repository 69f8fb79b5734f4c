//! What must wait: an issuer asked for it, or the last attempt failed.
//!
//! Kept in memory only. A restart forgets it and asks once more, which harms nobody; what must not be forgotten (the
//! quiet time after an intent) is in the row.

use std::time::Duration;

use bowerbird_core::{ConnectionId, Timestamp};
use moka::sync::Cache;

/// `Retry-After` and the like are believed within these bounds.
const SHORTEST_SECONDS: i64 = 1;
const LONGEST_SECONDS: i64 = 3600;
/// The wait after the first failure; doubles with each.
const FIRST_SECONDS: i64 = 2;
const FAILURE_CAP_SECONDS: i64 = 60;
/// The wait after the first unknown outcome is the quiet time in the row; from the second on it doubles too.
const DOUBT_CAP_SECONDS: i64 = 900;
/// A server that refuses every access token must not make us refresh for every call.
const FORCED_GAP_SECONDS: i64 = 10;

#[derive(Clone, Copy, Default)]
struct Entry {
    failures: u32,
    until: Option<Timestamp>,
    forced_at: Option<Timestamp>,
}

/// The waits, per connection.
pub(crate) struct Postponements(Cache<ConnectionId, Entry>);

impl Default for Postponements {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(100_000).time_to_idle(Duration::from_hours(2)).build())
    }
}

impl Postponements {
    /// Until when this connection's refresh must wait, if it must.
    pub(crate) fn until(&self, connection: ConnectionId, now: Timestamp) -> Option<Timestamp> {
        self.0.get(&connection).and_then(|entry| entry.until).filter(|until| *until > now)
    }

    /// Notes a failure after which the token may be sent again, and returns until when to wait.
    pub(crate) fn failed(&self, connection: ConnectionId, now: Timestamp, asked: Option<Timestamp>) -> Timestamp {
        self.note(connection, |failures| {
            let backoff = now.plus_seconds(doubled(FIRST_SECONDS, failures, FAILURE_CAP_SECONDS));
            match asked {
                Some(asked) => asked.clamp(now.plus_seconds(SHORTEST_SECONDS), now.plus_seconds(LONGEST_SECONDS)),
                None => backoff,
            }
        })
    }

    /// Notes an unknown outcome, whose quiet time ends at `quiet`.
    pub(crate) fn in_doubt(&self, connection: ConnectionId, now: Timestamp, quiet: Timestamp) -> Timestamp {
        self.note(connection, |failures| {
            let quiet_seconds = (quiet.millis_since(now) / 1000).max(1);
            quiet.max(now.plus_seconds(doubled(quiet_seconds, failures, DOUBT_CAP_SECONDS)))
        })
    }

    /// Notes a refresh that was asked for because the access token was refused, unless the last one is so fresh that
    /// another will not help; then returns until when to wait.
    pub(crate) fn force(&self, connection: ConnectionId, now: Timestamp) -> Option<Timestamp> {
        let entry = self.0.get(&connection).unwrap_or_default();
        let next = entry.forced_at.map(|at| at.plus_seconds(FORCED_GAP_SECONDS)).filter(|next| *next > now);
        if next.is_none() {
            self.0.insert(connection, Entry { forced_at: Some(now), ..entry });
        }
        next
    }

    /// Notes a success.
    pub(crate) fn succeeded(&self, connection: ConnectionId) {
        if let Some(entry) = self.0.get(&connection) {
            self.0.insert(connection, Entry { failures: 0, until: None, ..entry });
        }
    }

    /// Forgets everything about a connection.
    pub(crate) fn clear(&self, connection: ConnectionId) {
        self.0.invalidate(&connection);
    }

    fn note(&self, connection: ConnectionId, until: impl FnOnce(u32) -> Timestamp) -> Timestamp {
        let entry = self.0.get(&connection).unwrap_or_default();
        let until = until(entry.failures);
        let failures = entry.failures.saturating_add(1);
        self.0.insert(connection, Entry { failures, until: Some(until), ..entry });
        until
    }
}

fn doubled(seconds: i64, times: u32, cap: i64) -> i64 {
    seconds.saturating_mul(1 << times.min(16)).min(cap)
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    const T0: Timestamp = Timestamp::from_seconds(1_000_000);

    fn connection() -> ConnectionId {
        ConnectionId::random(&SeededEntropy::new(1))
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_minute() {
        let waits = Postponements::default();
        let seconds: Vec<i64> = (0..7).map(|_| waits.failed(connection(), T0, None).millis_since(T0) / 1000).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60]);
        waits.succeeded(connection());
        assert_eq!(waits.until(connection(), T0), None);
        assert_eq!(waits.failed(connection(), T0, None), T0.plus_seconds(2));
    }

    #[test]
    fn what_an_issuer_asks_for_is_believed_within_bounds() {
        let waits = Postponements::default();
        let ask = |seconds| waits.failed(connection(), T0, Some(T0.plus_seconds(seconds)));
        assert_eq!(ask(120), T0.plus_seconds(120));
        assert_eq!(ask(-5), T0.plus_seconds(1));
        assert_eq!(ask(1_000_000), T0.plus_seconds(3600));
    }

    #[test]
    fn doubt_waits_for_the_quiet_time_first_and_longer_later() {
        let waits = Postponements::default();
        let quiet = T0.plus_seconds(60);
        let seconds: Vec<i64> =
            (0..6).map(|_| waits.in_doubt(connection(), T0, quiet).millis_since(T0) / 1000).collect();
        assert_eq!(seconds, [60, 120, 240, 480, 900, 900]);
    }

    #[test]
    fn a_forced_refresh_is_not_repeated_at_once() {
        let waits = Postponements::default();
        assert_eq!(waits.force(connection(), T0), None);
        assert_eq!(waits.force(connection(), T0.plus_seconds(9)), Some(T0.plus_seconds(10)));
        assert_eq!(waits.force(connection(), T0.plus_seconds(10)), None);
    }
}
