//! How long others wait while somebody misbehaves.
//!
//! On a machine that others use, times move by themselves, and always upwards. So quiet and busy windows take turns and
//! the best one of each kind counts: a server in which a flood stands in the way of others has no good window while it
//! lasts. A comparison that fails is made again, for the machine may be busy for as long as one takes.

use std::time::Duration;

use bowerbird_testkit::actors::App;

use crate::support::Must as _;

/// Requests in a window: its p99 is the second slowest.
const WINDOW: usize = 100;
const ROUNDS: usize = 5;
const ATTEMPTS: usize = 3;
/// What may be added whatever the factor says: a few turns of a scheduler whose processors also run the flood and this
/// test, and the tests beside it.
const FLOOR: Duration = Duration::from_millis(5);

/// What is done to the server in the busy windows.
pub(crate) trait Burden {
    async fn begin(&mut self);
    /// Ends it, after asserting that it was there all the time.
    async fn end(&mut self);
}

/// Asserts that p99 of an app's session checks under a burden stays below `factor` times what it is without, and the
/// floor.
#[expect(clippy::print_stdout, reason = "the figures, for whoever runs this test alone")]
pub(crate) async fn assert_others_do_not_wait(app: &App, factor: f64, burden: &mut impl Burden) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (mut quiet, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            quiet.push(p99(app).await);
            burden.begin().await;
            busy.push(p99(app).await);
            burden.end().await;
        }
        println!("p99 of others: {quiet:?} without, {busy:?} with");
        let best = |windows: Vec<Duration>| windows.into_iter().min().unwrap();
        let (quiet, busy) = (best(quiet), best(busy));
        if busy < quiet.mul_f64(factor) + FLOOR {
            return;
        }
        seen.push((quiet, busy));
    }
    panic!("others wait: p99 without and with, {seen:?}");
}

async fn p99(app: &App) -> Duration {
    let mut waits = Vec::with_capacity(WINDOW);
    for _ in 0..WINDOW {
        waits.push(wait(app).await);
    }
    waits.sort_unstable();
    waits[WINDOW * 99 / 100 - 1]
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn wait(app: &App) -> Duration {
    let begun = std::time::Instant::now();
    app.get("/api/auth/session").await.must_be(200);
    begun.elapsed()
}
