//! What failed a moment ago, before anything was written into the row.
//!
//! Kept in memory only: a restart forgets it and asks once more, which harms nobody. The pauses after something was sent
//! are in the row; here they only save reading it.

use std::time::Duration;

use bowerbird_core::{ConnectionId, Timestamp};
use moka::sync::Cache;

/// The wait after the first failure; doubles with each.
const FIRST_SECONDS: i64 = 2;
const FAILURE_CAP_SECONDS: i64 = 60;
/// A sweep that got nowhere with a credential passes it over for so long.
const SWEEP_GAP_SECONDS: i64 = 600;
/// A server that refuses every access token must not make us refresh for every call.
const FORCED_GAP_SECONDS: i64 = 10;

#[derive(Clone, Copy, Default)]
struct Entry {
    failures: u32,
    until: Option<Timestamp>,
    forced_at: Option<Timestamp>,
    not_swept_until: Option<Timestamp>,
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

    /// Notes a failure before anything was sent, and returns until when to wait.
    pub(crate) fn failed(&self, connection: ConnectionId, now: Timestamp) -> Timestamp {
        let entry = self.0.get(&connection).unwrap_or_default();
        let until = now.plus_seconds(doubled(FIRST_SECONDS, entry.failures, FAILURE_CAP_SECONDS));
        let failures = entry.failures.saturating_add(1);
        self.0.insert(connection, Entry { failures, until: Some(until), ..entry });
        until
    }

    /// Remembers a pause that is in the row.
    pub(crate) fn wait(&self, connection: ConnectionId, until: Timestamp) {
        let entry = self.0.get(&connection).unwrap_or_default();
        self.0.insert(connection, Entry { until: Some(until), ..entry });
    }

    /// Notes that a sweep got nowhere.
    pub(crate) fn swept_in_vain(&self, connection: ConnectionId, now: Timestamp) {
        let entry = self.0.get(&connection).unwrap_or_default();
        let not_swept_until = Some(now.plus_seconds(SWEEP_GAP_SECONDS));
        self.0.insert(connection, Entry { not_swept_until, ..entry });
    }

    /// Whether a sweep should pass this connection over.
    pub(crate) fn holds_sweep(&self, connection: ConnectionId, now: Timestamp) -> bool {
        let entry = self.0.get(&connection).unwrap_or_default();
        [entry.until, entry.not_swept_until].into_iter().flatten().any(|until| until > now)
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
            self.0.insert(connection, Entry { forced_at: entry.forced_at, ..Entry::default() });
        }
    }

    /// Forgets everything about a connection.
    pub(crate) fn clear(&self, connection: ConnectionId) {
        self.0.invalidate(&connection);
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
        let seconds: Vec<i64> = (0..7).map(|_| waits.failed(connection(), T0).millis_since(T0) / 1000).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60]);
        waits.succeeded(connection());
        assert_eq!(waits.until(connection(), T0), None);
        assert_eq!(waits.failed(connection(), T0), T0.plus_seconds(2));
    }

    #[test]
    fn a_forced_refresh_is_not_repeated_at_once() {
        let waits = Postponements::default();
        assert_eq!(waits.force(connection(), T0), None);
        assert_eq!(waits.force(connection(), T0.plus_seconds(9)), Some(T0.plus_seconds(10)));
        assert_eq!(waits.force(connection(), T0.plus_seconds(10)), None);
    }
}
