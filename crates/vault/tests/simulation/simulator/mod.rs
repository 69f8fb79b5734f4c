//! The real engine under a seeded scheduler, in virtual time, with faults everywhere.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan.rs` | what a seed decides beforehand, and the deliberate mistakes |
//! | `rng.rs` | choices from a seed |
//! | `world.rs` | time, the scheduler, and what the instances share |
//! | `life.rs` | a process: killed, stopped, cut off, with a wall clock of its own |
//! | `store.rs`, `disk.rs`, `issuer.rs`, `surroundings.rs` | the ports |
//! | `ledger.rs` | the issuer's books, and the oracle |
//! | `play.rs` | one run |

mod disk;
mod issuer;
mod ledger;
mod life;
mod plan;
mod play;
mod rng;
mod store;
mod surroundings;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use ledger::Counts;
use parking_lot::Mutex;
pub(crate) use plan::Mutant;
pub(crate) use play::{Outcome, play};

/// What many runs came to.
#[derive(Default)]
pub(crate) struct Campaign {
    pub(crate) seeds: u64,
    pub(crate) counts: Counts,
    /// The seeds in which something that must never be was, with what it was.
    pub(crate) failures: Vec<(u64, Vec<String>)>,
}

/// Plays seeds on several threads; ends early after so many failures. `progress` hears how many are done, now and then.
pub(crate) fn campaign(
    seeds: std::ops::Range<u64>,
    mutant: Option<Mutant>,
    failures: usize,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let whole = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || whole.lock().failures.len() >= failures {
                        return;
                    }
                    let Outcome { faults, counts, .. } = play(seed, mutant, false);
                    let mut whole = whole.lock();
                    whole.seeds += 1;
                    for (what, count) in counts {
                        *whole.counts.entry(what).or_default() += count;
                    }
                    if !faults.is_empty() {
                        whole.failures.push((seed, faults));
                    }
                    if whole.seeds % 1000 == 0 {
                        progress(whole.seeds);
                    }
                }
            });
        }
    });
    let mut whole = whole.into_inner();
    whole.failures.sort();
    whole
}

impl std::fmt::Display for Campaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} seeds", self.seeds)?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>12}  {what}")?;
        }
        for (seed, faults) in &self.failures {
            writeln!(f, "seed {seed}: {}", faults.join("; "))?;
            writeln!(f, "    to see it: cargo xtask simulate --from {seed} --seeds 1 --trace")?;
        }
        Ok(())
    }
}
