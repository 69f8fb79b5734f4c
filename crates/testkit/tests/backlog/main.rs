//! Thousands of accounts whose access tokens end at the same moment, on the whole engine: the sweep renews them at its pace,
//! no issuer is asked for more than it takes, each refresh token is used once, and whoever calls meanwhile does not wait for it.
//!
//! 2,400 of them, on every run; ten thousand with `BOWERBIRD_LONG_TESTS=1`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that compares how long things took, says so, and stops when it meets the unexpected"
)]

mod drain;
mod rig;

use std::collections::HashMap;
use std::time::Duration;

use bowerbird_core::CredentialState;
use bowerbird_core::ports::Clock as _;
use bowerbird_testkit::fault::{CanaryKind, Misbehave, Verdict, endpoint};

use crate::drain::{Kind, Live, drain};
use crate::rig::{Granted, LIFE, Rig, engine};

/// Servers behind the entryway, which have four accounts of five, and servers that are their own issuers.
const BEHIND_ENTRYWAY: usize = 4;
const ALONE: usize = 20;
/// Requests in five minutes that an issuer takes; the sweep is to leave half of them to others.
const QUOTA: usize = 3000;

fn size_of_crowd() -> usize {
    if std::env::var("BOWERBIRD_LONG_TESTS").is_ok_and(|value| value == "1") { 10_000 } else { 2_400 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_expires_at_once_is_renewed_without_a_429_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), BEHIND_ENTRYWAY, ALONE).await;
    let size = size_of_crowd();
    let (behind, alone) = (size * 4 / 5 / BEHIND_ENTRYWAY, size / 5 / ALONE);
    let homes = (0..BEHIND_ENTRYWAY).map(|home| (home, behind));
    let homes = homes.chain((BEHIND_ENTRYWAY..BEHIND_ENTRYWAY + ALONE).map(|home| (home, alone)));
    let crowd = rig.grant("crowd", homes).await;
    assert_eq!(crowd.len(), size);
    for issuer in rig.issuers() {
        // So that requests meet.
        issuer.server().misbehave(endpoint::TOKEN, Misbehave::DelayBefore(Duration::from_millis(10)));
    }
    let idle = rig.grant("idle", [(0, 10), (BEHIND_ENTRYWAY, 10)]).await;
    rig.clock.leap(Duration::from_secs(LIFE + 60));
    let fresh = rig.grant("fresh", [(0, 10), (BEHIND_ENTRYWAY, 10)]).await;

    let calls = [(Kind::Expired, &idle), (Kind::Fresh, &fresh)];
    let mut alone = Vec::new();
    for (kind, granted) in calls {
        for granted in granted {
            alone.push(Live::call(&rig, kind, *granted).await);
        }
    }
    let drained = drain(&rig, &crowd, &fresh).await;

    for issuer in rig.issuers() {
        let load = issuer.server().load();
        assert_eq!(load.refused, 0, "{} answered 429: {load:?}", issuer.issuer());
    }
    let load = rig.entryway().server().load();
    assert!(load.most_at_once >= 3, "the limit was not tried: {load:?}");
    // Beside the sweep's there are those of some callers (one in four seconds), a look at the metadata each minute, and a few
    // nonces that grew old. A sweep without a pace would be at 1,800: three at a time, twice a second.
    assert!(load.most_in_window <= QUOTA / 2 + QUOTA / 20, "{load:?}");
    each_was_asked_for_once(&rig, size + idle.len());
    nobody_waited(&drained.live, size, drained.took);
    println!(
        "{size} renewed in {:?} of the engine's time; the entryway saw {load:?}; median of a call, alone and under the crowd: \
         expired {:?} and {:?}, fresh {:?} and {:?}",
        drained.by_the_clock,
        median(&alone, Kind::Expired),
        median(&drained.live, Kind::Expired),
        median(&alone, Kind::Fresh),
        median(&drained.live, Kind::Fresh),
    );
    everything_is_stored(rig, &crowd, folder.path()).await;
}

/// Not even when the issuer stands still under the sweep, and the sweep goes on looking for places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_stands_still_under_the_sweep_has_a_place_left_for_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), 1, 1).await;
    let crowd = rig.grant("crowd", [(0, 10), (1, 10)]).await;
    rig.clock.leap(Duration::from_secs(LIFE + 60));
    let fresh = rig.grant("fresh", [(0, 1)]).await;
    let issuers = rig.issuers();
    for issuer in &issuers {
        // What the sweep may have under way at one issuer: these stand until the test is over.
        issuer.server().misbehave_times(endpoint::TOKEN, 3, Misbehave::HangBefore);
    }
    let vault = &rig.atproto.vault;
    let mut swept = 0;
    for _ in 0..20 {
        rig.clock.leap(Duration::from_millis(500));
        swept += vault.sweep_once().await.unwrap().started;
    }
    assert_eq!(swept, 6, "one place is left at each issuer, and two of all");
    while issuers.iter().any(|issuer| issuer.token_calls() < 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut served = 0;
    for granted in &crowd {
        // The sweep has six of these; whoever asks for one of them waits with it.
        let row = rig.stores.credentials.find(granted.connection).await.unwrap().unwrap();
        if row.state == CredentialState::Ok {
            let usable = vault.checkout(granted.connection).await.unwrap();
            assert!(usable.expires_at > rig.clock.now());
            served += 1;
        }
        assert_eq!(vault.sweep_once().await.unwrap().started, 0);
    }
    assert_eq!(served, 14);
    vault.forget(fresh[0].connection);
    vault.checkout(fresh[0].connection).await.unwrap();
    assert_eq!(vault.health().in_flight, swept, "nobody of the crowd was let through meanwhile");
    assert!(issuers.iter().all(|issuer| issuer.server().load().refused == 0));
}

/// Each refresh token that the issuers gave first was taken once, and no later one at all.
fn each_was_asked_for_once(rig: &Rig, accounts: usize) {
    let shown = rig.network.ledger().presented(CanaryKind::RefreshToken);
    let mut taken = HashMap::new();
    for shown in shown.iter().filter(|shown| shown.verdict == Verdict::Accepted) {
        *taken.entry(shown.canary.value.as_str()).or_insert(0) += 1;
    }
    assert_eq!((taken.len(), taken.values().max()), (accounts, Some(&1)));
    let other = shown.iter().filter(|shown| !matches!(shown.verdict, Verdict::Accepted | Verdict::NotConsumed));
    assert_eq!(other.collect::<Vec<_>>().len(), 0);
    // The only ones that were sent twice came with a nonce that had just grown old.
    let challenged = shown.len() - accounts;
    assert!(challenged * 20 <= accounts, "{challenged} of {accounts} were asked for another nonce");
    rig.network.assert_clean();
}

/// Each call was answered while most of the crowd that was before it still waited.
fn nobody_waited(live: &[Live], size: usize, drained_in: Duration) {
    for kind in [Kind::Expired, Kind::Fresh] {
        assert!(live.iter().filter(|call| call.kind == kind).count() >= 20, "too few calls to say anything");
    }
    for call in live {
        assert!(call.went_ahead <= size / 50, "{} of the crowd went before a call: {call:?}", call.went_ahead);
        assert!(call.took < drained_in / 10, "{call:?}, with {drained_in:?} for the whole crowd");
    }
}

/// What a process that starts afterwards finds in the file: a new token set for each account, and the issuer's newest.
async fn everything_is_stored(rig: Rig, crowd: &[Granted], folder: &std::path::Path) {
    let Rig { network, homes, clock, database, stores, atproto } = rig;
    drop((stores, atproto));
    database.close().await;
    let path = folder.join("b.sqlite");
    let database = bowerbird_storage_sql::SqlStores::open(&format!("sqlite:{}", path.display())).await.unwrap();
    let stores = database.stores();
    let restarted = tempfile::tempdir().unwrap();
    let atproto = engine(&network, &clock, &stores, restarted.path());
    for granted in crowd {
        let row = stores.credentials.find(granted.connection).await.unwrap().unwrap();
        assert_eq!(row.state, CredentialState::Ok);
        assert!(row.tokens.access_expires_at > clock.now());
        let grant = atproto.vault.open(granted.connection).await.unwrap().unwrap();
        assert!(homes[granted.home].issuer.would_take(grant.refresh_token.unwrap().expose()));
    }
    database.close().await;
}

fn median(calls: &[Live], kind: Kind) -> Duration {
    let mut took: Vec<Duration> = calls.iter().filter(|call| call.kind == kind).map(|call| call.took).collect();
    took.sort();
    took[took.len() / 2]
}
