//! The sweep over a crowd, and people who call meanwhile.

use std::time::{Duration, Instant};

use bowerbird_core::CredentialState;
use bowerbird_core::ports::Clock as _;
use bowerbird_testkit::fault::CanaryKind;
use futures_util::future::join;

use crate::rig::{Granted, Rig};

/// The pause of a busy sweep (`sweep.rs` of the vault).
const STEP: Duration = Duration::from_millis(500);
/// A call comes in with every so many steps.
const STEPS_FOR_A_CALL: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An access token that ended: it is renewed while the caller waits.
    Expired,
    /// One that is good, and not in memory.
    Fresh,
}

/// A call of a person that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) kind: Kind,
    pub(crate) took: Duration,
    /// How many others were renewed between question and answer.
    pub(crate) went_ahead: usize,
}

impl Live {
    pub(crate) async fn call(rig: &Rig, kind: Kind, granted: Granted) -> Self {
        let (vault, begun, before) = (&rig.atproto.vault, Instant::now(), renewed(rig));
        vault.forget(granted.connection);
        let usable = vault.checkout(granted.connection).await.unwrap();
        let took = begun.elapsed();
        assert!(usable.expires_at > rig.clock.now());
        let own = usize::from(kind == Kind::Expired);
        Self { kind, took, went_ahead: (renewed(rig) - before).saturating_sub(own) }
    }
}

pub(crate) struct Drained {
    pub(crate) live: Vec<Live>,
    /// By the true clock, and by the engine's.
    pub(crate) took: Duration,
    pub(crate) by_the_clock: Duration,
}

/// Sweeps until nothing is due. People call for accounts of the crowd that the sweep has not come to, and for fresh ones.
pub(crate) async fn drain(rig: &Rig, crowd: &[Granted], fresh: &[Granted]) -> Drained {
    let (begun, from) = (Instant::now(), rig.clock.monotonic());
    let mut live = Vec::new();
    let (mut waiting, mut fresh) = (crowd.iter().rev(), fresh.iter().cycle());
    for step in 1.. {
        rig.clock.leap(STEP);
        let swept = rig.atproto.vault.sweep_once().await.unwrap();
        if step % STEPS_FOR_A_CALL == 0 {
            let expired = next_expired(rig, &mut waiting).await;
            let expired = async {
                match expired {
                    Some(granted) => Some(Live::call(rig, Kind::Expired, granted).await),
                    None => None,
                }
            };
            let calls = join(expired, Live::call(rig, Kind::Fresh, *fresh.next().unwrap()));
            let (expired, fresh) = under_the_sweep(rig, calls).await;
            live.extend(expired.into_iter().chain([fresh]));
        }
        // As long as one step's refreshes take: an issuer that answers within half a second.
        while rig.atproto.vault.health().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if swept.started == 0 && swept.passed_over == 0 {
            break;
        }
        let by_the_clock = rig.clock.monotonic().saturating_sub(from);
        assert!(by_the_clock < Duration::from_mins(45), "{} are renewed of {}", renewed(rig), crowd.len());
    }
    Drained { live, took: begun.elapsed(), by_the_clock: rig.clock.monotonic().saturating_sub(from) }
}

/// Goes on sweeping, a good deal faster than the clock of the sweep has it, for as long as the calls take.
async fn under_the_sweep<T>(rig: &Rig, calls: impl Future<Output = T>) -> T {
    let mut calls = std::pin::pin!(calls);
    loop {
        tokio::select! {
            answered = &mut calls => return answered,
            () = tokio::time::sleep(Duration::from_millis(2)) => {
                rig.clock.leap(STEP);
                rig.atproto.vault.sweep_once().await.unwrap();
            }
        }
    }
}

/// The next account whose token ended and whom nobody has renewed or is renewing.
async fn next_expired<'a>(rig: &Rig, waiting: &mut impl Iterator<Item = &'a Granted>) -> Option<Granted> {
    for granted in waiting {
        let row = rig.stores.credentials.find(granted.connection).await.unwrap().unwrap();
        if row.state == CredentialState::Ok && row.tokens.access_expires_at <= rig.clock.now() {
            return Some(*granted);
        }
    }
    None
}

/// How many refreshes the issuers granted so far, and grants they opened.
fn renewed(rig: &Rig) -> usize {
    rig.network.ledger().minted(CanaryKind::AccessToken)
}
