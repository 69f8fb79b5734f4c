//! A deadline for each of many waits in a row, at the price of one timer for all of them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is kept from one wait to the next. It is left as it stands while that is earlier than needed, and put
/// forward only when it rings: a connection that answers well before its deadline never touches the runtime's timers
/// more than once in that time.
#[derive(Default)]
pub(crate) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Ready when `until` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the runtime under test")]
    async fn each_wait_ends_at_its_own_deadline() {
        let mut patience = Patience::default();
        let began = Instant::now();
        for (asked, ended) in [(30, 30), (50, 50), (40, 50), (90, 90)] {
            let until = began + Duration::from_secs(asked);
            poll_fn(|cx| patience.poll(cx, until)).await;
            assert_eq!(began.elapsed().as_secs(), ended);
        }
        // One that was not needed and one that is earlier than the kept timer.
        let (far, near) = (began + Duration::from_secs(500), began + Duration::from_secs(100));
        assert!(poll_fn(|cx| Poll::Ready(patience.poll(cx, far))).await.is_pending());
        poll_fn(|cx| patience.poll(cx, near)).await;
        assert_eq!(began.elapsed().as_secs(), 100);
    }
}
