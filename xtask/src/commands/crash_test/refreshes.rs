//! Many refreshes with callers side by side, at every instance: one token request for each access token that ends.

use super::house::{Called, House};
use super::ledger::Ledger;
use crate::interrupt;
use anyhow::Result;
use serde::Serialize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// People for whom calls are made at the same time.
const AT_ONCE: usize = 12;
/// Callers for each of them at each instance.
const CALLERS: usize = 2;

/// What the calls came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calls {
    pub(super) bursts: u64,
    pub(super) made: u64,
    pub(super) served: u64,
    pub(super) later: u64,
    /// Must be 0: nobody was killed.
    pub(super) lost: u64,
}

/// Calls in bursts, each for a person whose access token has ended, until so many were made.
pub(super) fn run(
    house: &House,
    people: Range<usize>,
    wanted: u64,
    life: Duration,
    ledger: &Ledger,
    done: &AtomicU64,
) -> Result<Calls> {
    let counts: [AtomicU64; 3] = Default::default();
    let people: Vec<usize> = people.collect();
    let started = AtomicU64::new(0);
    thread::scope(|scope| {
        for share in people.chunks(people.len().div_ceil(AT_ONCE).max(1)) {
            let (counts, started) = (&counts, &started);
            scope.spawn(move || {
                let mut ended = vec![None; share.len()];
                for place in (0..share.len()).cycle() {
                    if started.fetch_add(1, Ordering::Relaxed) >= wanted {
                        return;
                    }
                    // A little more than the life of the token that the last burst brought.
                    let rest = ended[place].map_or(Duration::ZERO, |at: Instant| {
                        (life + Duration::from_millis(200)).saturating_sub(at.elapsed())
                    });
                    if interrupt::sleep(rest).is_err() {
                        return;
                    }
                    burst(house, share[place], ledger, counts);
                    ended[place] = Some(Instant::now());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    interrupt::check()?;
    let [served, later, lost] = counts.map(AtomicU64::into_inner);
    Ok(Calls { bursts: wanted, made: served + later + lost, served, later, lost })
}

fn burst(house: &House, person: usize, ledger: &Ledger, counts: &[AtomicU64; 3]) {
    thread::scope(|scope| {
        for instance in (0..house.instances.len()).flat_map(|instance| [instance; CALLERS]) {
            let call = house.call(instance, person);
            scope.spawn(move || {
                let count = match call.make(ledger) {
                    Called::Served => 0,
                    Called::Later(_) => 1,
                    Called::MustSignIn => 2,
                };
                counts[count].fetch_add(1, Ordering::Relaxed);
            });
        }
    });
}
