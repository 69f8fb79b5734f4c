//! Fairness towards issuers: how many refreshes each gets at once, how fast a sweep may go, and when it is left alone.
//!
//! All of it is in memory and per instance. What must hold across instances is in the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ConnectionId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An issuer at which so many different credentials failed, without one that worked, is left alone for a while.
const FAILURES: usize = 5;
/// The first such pause; doubles with each until an attempt works.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// Not longer, so that everybody is served soon after the issuer is back.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// What an issuer itself asks for is believed up to this.
const LONGEST_ASKED: Duration = Duration::from_hours(1);
/// While one attempt finds out whether the issuer is back, the others wait this long.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// Beyond so many issuers, those without a story are forgotten.
const REMEMBERED: usize = 4096;
/// Refreshes of all issuers together that a sweep leaves to callers.
const LEFT_TO_CALLERS: usize = 2;

/// The limits.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) in_flight: usize,
    pub(crate) per_issuer: usize,
    pub(crate) swept_per_second: u32,
}

/// Every issuer that this process has to do with.
pub(crate) struct Issuers {
    limits: Limits,
    in_flight: Arc<Semaphore>,
    known: Mutex<HashMap<String, Arc<Issuer>>>,
}

/// What is known of one issuer.
pub(crate) struct Issuer {
    in_flight: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The credentials that failed since one worked.
    failing: Vec<ConnectionId>,
    pauses: u32,
    /// Monotonic. Once it is over, one attempt at a time finds out.
    paused_until: Option<Duration>,
    probing: bool,
    /// Monotonic: when the sweep's next start would be exactly on time.
    sweep_at: Duration,
}

/// The right to have one refresh under way.
pub(crate) struct Permits {
    _issuer: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// The right to ask an issuer; what came of it is told to [`Admission::worked`] and its siblings.
pub(crate) struct Admission {
    issuer: Arc<Issuer>,
    probe: bool,
}

impl Issuers {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, in_flight: Arc::new(Semaphore::new(limits.in_flight.max(1))), known: Mutex::default() }
    }

    pub(crate) fn of(&self, issuer: &str) -> Arc<Issuer> {
        let mut issuers = self.known.lock();
        if let Some(known) = issuers.get(issuer) {
            return Arc::clone(known);
        }
        if issuers.len() >= REMEMBERED {
            issuers.retain(|_, issuer| Arc::strong_count(issuer) > 1 || issuer.state.lock().has_a_story());
        }
        let in_flight = Arc::new(Semaphore::new(self.limits.per_issuer.max(1)));
        let new = Arc::new(Issuer { in_flight, state: Mutex::default() });
        issuers.insert(issuer.to_owned(), Arc::clone(&new));
        new
    }

    /// Waits for a place, at the issuer first: who waits for a slow issuer takes no place from the others.
    /// None when the vault is gone.
    pub(crate) async fn wait(&self, issuer: &Issuer) -> Option<Permits> {
        let at_issuer = Arc::clone(&issuer.in_flight).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.in_flight).acquire_owned().await.ok()?;
        Some(Permits { _issuer: at_issuer, _all: all })
    }

    /// A place for a caller, if nobody has to be waited for.
    pub(crate) fn at_once(&self, issuer: &Issuer) -> Option<Permits> {
        let at_issuer = Arc::clone(&issuer.in_flight).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.in_flight).try_acquire_owned().ok()?;
        Some(Permits { _issuer: at_issuer, _all: all })
    }

    /// A place for a sweep: never the last ones, never at an issuer that is left alone, and not faster than agreed.
    pub(crate) fn for_sweep(&self, issuer: &Issuer, now: Duration) -> Option<Permits> {
        let spare = |semaphore: &Semaphore, total: usize, left: usize| {
            semaphore.available_permits() > left.min(total.saturating_sub(1))
        };
        if !spare(&self.in_flight, self.limits.in_flight, LEFT_TO_CALLERS)
            || !spare(&issuer.in_flight, self.limits.per_issuer, 1)
        {
            return None;
        }
        let mut state = issuer.state.lock();
        if state.paused_until.is_some_and(|until| now < until || state.probing) {
            return None;
        }
        // A bucket of one second's worth.
        let gap = Duration::from_secs(1) / self.limits.swept_per_second.max(1);
        let next = state.sweep_at.max(now) + gap;
        if next > now + Duration::from_secs(1) {
            return None;
        }
        let permits = Permits {
            _issuer: Arc::clone(&issuer.in_flight).try_acquire_owned().ok()?,
            _all: Arc::clone(&self.in_flight).try_acquire_owned().ok()?,
        };
        state.sweep_at = next;
        Some(permits)
    }
}

impl Issuer {
    /// Lets an attempt through, or says how long to wait.
    pub(crate) fn admit(self: &Arc<Self>, now: Duration) -> Result<Admission, Duration> {
        let mut state = self.state.lock();
        let probe = match state.paused_until {
            None => false,
            Some(until) if now < until => return Err(until.saturating_sub(now)),
            Some(_) if state.probing => return Err(PROBE_PAUSE),
            Some(_) => true,
        };
        state.probing |= probe;
        Ok(Admission { issuer: Arc::clone(self), probe })
    }
}

impl Admission {
    /// The issuer answered about the token itself.
    pub(crate) fn worked(&self, now: Duration) {
        let mut state = self.issuer.state.lock();
        state.failing.clear();
        if self.probe || state.paused_until.is_none_or(|until| now >= until) {
            (state.pauses, state.paused_until) = (0, None);
        }
    }

    /// It could not be reached, or answered with nothing of use.
    pub(crate) fn failed(&self, connection: ConnectionId, now: Duration) {
        let mut state = self.issuer.state.lock();
        if !state.failing.contains(&connection) {
            state.failing.push(connection);
        }
        if self.probe || state.failing.len() >= FAILURES {
            state.failing.clear();
            let pause = FIRST_PAUSE.saturating_mul(1 << state.pauses.min(10)).min(LONGEST_PAUSE);
            state.pauses = state.pauses.saturating_add(1);
            state.pause(now + pause);
        }
    }

    /// It asked to be left alone for so long.
    pub(crate) fn asked(&self, pause: Duration, now: Duration) {
        self.issuer.state.lock().pause(now + pause.min(LONGEST_ASKED));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.probe {
            self.issuer.state.lock().probing = false;
        }
    }
}

impl State {
    fn pause(&mut self, until: Duration) {
        self.paused_until = Some(self.paused_until.map_or(until, |known| known.max(until)));
    }

    fn has_a_story(&self) -> bool {
        self.paused_until.is_some() || !self.failing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    const LIMITS: Limits = Limits { in_flight: 8, per_issuer: 4, swept_per_second: 5 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn connections(count: usize) -> Vec<ConnectionId> {
        let entropy = SeededEntropy::new(1);
        (0..count).map(|_| ConnectionId::random(&entropy)).collect()
    }

    #[test]
    fn one_credential_that_fails_does_not_stop_the_others() {
        let issuer = Issuers::new(LIMITS).of("a");
        let connection = connections(1)[0];
        for _ in 0..20 {
            issuer.admit(at(0)).ok().unwrap().failed(connection, at(0));
        }
        assert!(issuer.admit(at(0)).is_ok());
    }

    #[test]
    fn an_issuer_that_fails_everybody_is_left_alone_and_then_asked_by_one() {
        let issuer = Issuers::new(LIMITS).of("a");
        for connection in connections(FAILURES) {
            issuer.admit(at(0)).ok().unwrap().failed(connection, at(0));
        }
        assert_eq!(issuer.admit(at(0)).err(), Some(at(15)));
        let connection = connections(1)[0];
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let wait = issuer.admit(now).err().unwrap();
            pauses.push(wait.as_secs());
            now += wait;
            let probe = issuer.admit(now).ok().unwrap();
            assert_eq!(issuer.admit(now).err(), Some(PROBE_PAUSE), "one at a time");
            probe.failed(connection, now);
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300]);
        now += LONGEST_PAUSE;
        drop(issuer.admit(now).ok().unwrap());
        issuer.admit(now).ok().unwrap().worked(now);
        let _both = (issuer.admit(now).ok().unwrap(), issuer.admit(now).ok().unwrap());
    }

    #[test]
    fn a_success_from_before_does_not_shorten_what_the_issuer_asked_for() {
        let issuer = Issuers::new(LIMITS).of("a");
        let (early, late) = (issuer.admit(at(0)).ok().unwrap(), issuer.admit(at(0)).ok().unwrap());
        late.asked(at(100), at(0));
        early.worked(at(1));
        assert_eq!(issuer.admit(at(1)).err(), Some(at(99)));
        assert!(issuer.admit(at(100)).is_ok());
    }

    #[test]
    fn a_sweep_leaves_the_last_places_and_keeps_its_pace() {
        let issuers = Issuers::new(LIMITS);
        let (a, b, c) = (issuers.of("a"), issuers.of("b"), issuers.of("c"));
        let mut held: Vec<_> = std::iter::from_fn(|| issuers.for_sweep(&a, at(0))).collect();
        assert_eq!(held.len(), 3, "one of the issuer's four is left");
        held.extend(std::iter::from_fn(|| issuers.for_sweep(&b, at(0))));
        assert_eq!(held.len(), 6, "two of all are left");
        assert!(issuers.for_sweep(&c, at(0)).is_none());
        held.clear();
        let starts = (0..100).filter(|tenth| issuers.for_sweep(&c, Duration::from_millis(tenth * 100)).is_some());
        assert!((50..=55).contains(&starts.count()), "five a second");
    }

    #[test]
    fn a_place_that_becomes_free_goes_to_a_caller_who_waits_and_not_to_the_sweep() {
        let issuers = Issuers::new(LIMITS);
        let issuer = issuers.of("a");
        let mut swept: Vec<_> = std::iter::from_fn(|| issuers.for_sweep(&issuer, at(0))).collect();
        let _first = issuers.at_once(&issuer).unwrap();
        let mut second = std::pin::pin!(issuers.wait(&issuer));
        assert!(futures_util::FutureExt::now_or_never(second.as_mut()).is_none(), "all four are taken");
        drop(swept.pop());
        assert!(issuers.for_sweep(&issuer, at(10)).is_none());
        assert!(futures_util::FutureExt::now_or_never(second).flatten().is_some());
    }

    #[test]
    fn ten_thousand_accounts_that_are_due_at_once_take_half_of_the_quota_and_nobodys_turn() {
        const QUOTA: usize = 3000;
        let window = Duration::from_mins(5);
        let issuers = Issuers::new(LIMITS);
        let issuer = issuers.of("a");
        let mut under_way: Vec<(Duration, Permits)> = Vec::new();
        let mut sent = std::collections::VecDeque::new();
        let (mut left, mut now, mut most) = (10_000, Duration::ZERO, 0);
        while left > 0 {
            // The pace of a busy sweep; a refresh takes 400 ms.
            now += Duration::from_millis(500);
            under_way.retain(|(end, _)| *end > now);
            while sent.front().is_some_and(|at| *at + window <= now) {
                sent.pop_front();
            }
            while left > 0
                && let Some(permits) = issuers.for_sweep(&issuer, now)
            {
                under_way.push((now + Duration::from_millis(400), permits));
                sent.push_back(now);
                left -= 1;
            }
            most = most.max(sent.len());
            // Somebody who waits finds a place at once, whatever the sweep does.
            let caller = futures_util::FutureExt::now_or_never(issuers.wait(&issuer));
            assert!(caller.flatten().is_some(), "a caller waits behind the sweep at {now:?}");
        }
        assert!(most <= QUOTA / 2 + 5, "{most} requests in five minutes");
        assert!(now < Duration::from_mins(45), "{now:?}");
    }
}
