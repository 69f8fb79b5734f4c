//! The timer of the limit on heads: one for each connection, and not one for each head.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

type Kept = Pin<Box<tokio::time::Sleep>>;

/// Gives out waits that take over the timer of the wait before.
///
/// The HTTP library begins a wait with every request and drops it when the head is there. The timer is left as it stands
/// meanwhile, since it is earlier than needed, and put forward only when it rings: the runtime's timers are touched once
/// in the time that a head may take, however many heads come in that time.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Kept>>>);

/// The wait for one head.
struct Wait {
    until: tokio::time::Instant,
    timer: Option<Kept>,
    /// Where the timer goes back to.
    home: HeadTimer,
}

impl Timer for HeadTimer {
    #[expect(clippy::disallowed_methods, reason = "a limit of this server, measured by the runtime that serves")]
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until((tokio::time::Instant::now() + duration).into())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let timer = self.0.lock().take();
        Box::pin(Wait { until: deadline.into(), timer, home: self.clone() })
    }

    #[expect(clippy::disallowed_methods, reason = "a limit of this server, measured by the runtime that serves")]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { until, timer, .. } = self.get_mut();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*until)));
        if timer.deadline() > *until {
            timer.as_mut().reset(*until);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= *until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(*until);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            *self.home.0.lock() = Some(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_own_time_and_takes_over_the_timer() {
        let timer = HeadTimer::default();
        let began = timer.now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let seconds = || timer.now().duration_since(began).as_secs();
        for head in 0..5 {
            let mut wait = timer.sleep_until(at(10 + head));
            assert!(std::future::poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await.is_pending());
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(wait);
            assert_eq!(timer.0.lock().as_ref().map(|kept| kept.deadline()), Some(at(10).into()));
        }
        timer.sleep_until(at(30)).await;
        assert_eq!(seconds(), 30);
        timer.sleep(Duration::from_secs(2)).await;
        assert_eq!(seconds(), 32);
        let mut far = timer.sleep_until(at(100));
        assert!(std::future::poll_fn(|context| Poll::Ready(far.as_mut().poll(context))).await.is_pending());
        drop(far);
        timer.sleep_until(at(40)).await;
        assert_eq!(seconds(), 40);
    }
}
