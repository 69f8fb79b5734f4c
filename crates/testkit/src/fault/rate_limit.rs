//! How much a server takes from its clients before it answers 429, and how much of that was used.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use super::reply::Reply;

/// What a server takes, of all requests together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many requests in any window.
    pub requests: usize,
    /// How long a window is, by the network's clock.
    pub window: Duration,
    /// How many at the same time.
    pub at_once: usize,
}

impl RateLimit {
    /// What the largest servers document for one address: 3,000 requests in any five minutes. That they are not more than
    /// so many at a time is for the caller to say.
    pub const fn documented(at_once: usize) -> Self {
        Self { requests: 3000, window: Duration::from_mins(5), at_once }
    }
}

/// What a limited server saw since the limit was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that were answered 429.
    pub refused: usize,
    /// The most requests in any window.
    pub most_in_window: usize,
    /// The most requests at the same time.
    pub most_at_once: usize,
}

/// The limit of one server, shared by clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limiter(Arc<Mutex<Option<State>>>);

#[derive(Debug)]
struct State {
    limit: RateLimit,
    load: Load,
    /// When the requests of the present window came, in milliseconds.
    window: VecDeque<i64>,
    under_way: usize,
}

/// A request that was let in, until it is answered.
#[derive(Debug)]
pub(crate) struct Pass(Limiter);

impl Limiter {
    pub(crate) fn set(&self, limit: RateLimit) {
        *self.0.lock() = Some(State { limit, load: Load::default(), window: VecDeque::new(), under_way: 0 });
    }

    pub(crate) fn load(&self) -> Load {
        self.0.lock().as_ref().map(|state| state.load).unwrap_or_default()
    }

    /// Lets a request in; None without a limit, else the refusal.
    pub(crate) fn enter(&self, now_millis: i64) -> Result<Option<Pass>, Reply> {
        let mut limiter = self.0.lock();
        let Some(state) = limiter.as_mut() else { return Ok(None) };
        let begin = now_millis - i64::try_from(state.limit.window.as_millis()).expect("a short window");
        while state.window.front().is_some_and(|at| *at <= begin) {
            state.window.pop_front();
        }
        if state.window.len() >= state.limit.requests || state.under_way >= state.limit.at_once {
            state.load.refused += 1;
            return Err(refusal(state.limit.window));
        }
        state.window.push_back(now_millis);
        state.under_way += 1;
        state.load.most_in_window = state.load.most_in_window.max(state.window.len());
        state.load.most_at_once = state.load.most_at_once.max(state.under_way);
        Ok(Some(Pass(self.clone())))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(state) = self.0.0.lock().as_mut() {
            state.under_way = state.under_way.saturating_sub(1);
        }
    }
}

fn refusal(window: Duration) -> Reply {
    let body = json!({"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"});
    Reply::json(429, &body).with("Retry-After", window.as_secs().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { requests: 3, window: Duration::from_secs(10), at_once: 2 };

    #[test]
    fn what_is_over_the_rate_or_too_many_at_once_is_refused_and_counted() {
        let limiter = Limiter::default();
        assert!(limiter.enter(0).unwrap().is_none(), "no limit");
        limiter.set(LIMIT);
        let (first, second) = (limiter.enter(0).unwrap(), limiter.enter(1).unwrap());
        let refused = limiter.enter(2).unwrap_err();
        assert_eq!((refused.status, refused.header("Retry-After")), (429, Some("10")));
        drop((first, second));
        assert!(limiter.enter(9_999).unwrap().is_some());
        assert!(limiter.enter(9_999).is_err(), "a fourth in ten seconds");
        assert!(limiter.enter(10_000).unwrap().is_some());
        assert_eq!(limiter.load(), Load { refused: 2, most_in_window: 3, most_at_once: 2 });
    }
}
