//! Checkout: fast, once, and never in the way of a refresh.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bowerbird_core::{CredentialRecord, CredentialState};
use bowerbird_vault::{CheckoutError, Drained, NewGrant};
use futures_util::future::join_all;

use super::support::{DUE, EXPIRED, House, Reply, connect, new_grant, nth};

#[tokio::test(start_paused = true)]
async fn a_fresh_credential_costs_one_read_and_then_none() {
    let house = House::new().await;
    let before = house.credentials.finds.load(Ordering::SeqCst);
    for _ in 0..10 {
        let usable = house.vault.checkout(house.connection).await.unwrap();
        assert_eq!(usable.access_token.expose(), "at-0");
        assert_eq!(usable.audience, "https://pds.example");
        assert_eq!(usable.dpop_key.as_ref().unwrap().scalar().expose(), [9; 32]);
    }
    assert_eq!(house.credentials.finds.load(Ordering::SeqCst), before + 1);
    house.vault.forget(house.connection);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.credentials.finds.load(Ordering::SeqCst), before + 2);
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_checkouts_at_expiry_send_one_refresh_token() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let checkouts = (0..100).map(|_| house.vault.checkout(house.connection));
    for usable in join_all(checkouts).await {
        assert_eq!(usable.unwrap().access_token.expose(), "at-1");
    }
    assert_eq!(*house.issuer.sent.lock(), ["rt-0"]);
    assert_eq!(house.credentials.intents.load(Ordering::SeqCst), 1);
    assert_eq!(house.stored_refresh_token().await, "rt-1");
    assert_eq!(house.vault.health().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_checkouts_on_two_threads_send_one_refresh_token() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let tasks = (0..100).map(|_| {
        let (vault, connection) = (house.vault.clone(), house.connection);
        tokio::spawn(async move { vault.checkout(connection).await.unwrap().generation })
    });
    for generation in join_all(tasks).await {
        assert_eq!(generation.unwrap(), nth(2));
    }
    assert_eq!(*house.issuer.sent.lock(), ["rt-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_due_token_waits_for_its_refresh() {
    let house = House::new().await;
    house.pass(DUE);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_due_token_is_used_when_its_refresh_takes_long() {
    let house = House::new().await;
    house.pass(DUE);
    house.issuer.hold();
    let begun = tokio::time::Instant::now();
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    house.issuer.release();
    house.vault.drain(Duration::from_secs(1)).await;
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_does_not_take_the_successor_down() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.issuer.hold();
    for _ in 0..20 {
        let waited = tokio::time::timeout(Duration::from_millis(10), house.vault.checkout(house.connection)).await;
        assert!(waited.is_err(), "the caller gives up");
    }
    house.issuer.saw(1).await;
    house.issuer.release();
    house.vault.drain(Duration::from_secs(1)).await;
    assert_eq!(house.stored_refresh_token().await, "rt-1");
    assert_eq!(house.state().await, CredentialState::Ok);
    assert_eq!(*house.issuer.sent.lock(), ["rt-0"]);
}

/// The most refreshes at once of thirty credentials that expire together, at so many issuers.
async fn most_in_flight(issuers: u64) -> usize {
    let house = House::empty().await;
    let mut connections = Vec::new();
    for seed in 10..40 {
        let (account, connection) = connect(&house.stores, &house.clock, seed).await;
        let grant = new_grant(account, connection, "at", Some(&format!("rt of {seed}")));
        let issuer = format!("https://issuer.example/{}", seed % issuers);
        house.vault.grant(NewGrant { issuer, ..grant }).await.unwrap();
        connections.push(connection);
    }
    house.pass(EXPIRED);
    house.issuer.hold();
    let vault = house.vault.clone();
    let all = tokio::spawn(async move { join_all(connections.iter().map(|id| vault.checkout(*id))).await });
    house.issuer.saw(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sends = house.issuer.sends();
    assert_eq!(house.credentials.intents.load(Ordering::SeqCst), sends, "no intent before its turn");
    house.issuer.release();
    assert!(all.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(house.issuer.most_in_flight.load(Ordering::SeqCst), sends);
    assert_eq!((house.issuer.sends(), house.issuer.replays()), (30, 0));
    sends
}

#[tokio::test(start_paused = true)]
async fn at_most_eight_refreshes_are_in_flight_and_four_at_one_issuer() {
    assert_eq!(most_in_flight(3).await, 8);
    assert_eq!(most_in_flight(1).await, 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_access_token_is_refreshed_once_though_not_due() {
    let house = House::new().await;
    house.vault.checkout(house.connection).await.unwrap();
    let newer = (0..50).map(|_| house.vault.checkout_newer(house.connection, nth(1)));
    for usable in join_all(newer).await {
        assert_eq!(usable.unwrap().generation, nth(2));
    }
    assert_eq!(house.issuer.sends(), 1);
    // Callers that come late with the same old token get the stored newer one.
    let late = house.vault.checkout_newer(house.connection, nth(1)).await.unwrap();
    assert_eq!(late.access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_every_access_token_gets_no_flood_of_refreshes() {
    let house = House::new().await;
    let second = house.vault.checkout_newer(house.connection, nth(1)).await.unwrap();
    let third = house.vault.checkout_newer(house.connection, second.generation).await;
    assert!(matches!(third, Err(CheckoutError::TryLater { not_before: Some(_), .. })), "{third:?}");
    assert_eq!(house.issuer.sends(), 1);
    house.pass(10);
    house.vault.checkout_newer(house.connection, second.generation).await.unwrap();
    assert_eq!(house.issuer.sends(), 2);
    assert_eq!(house.issuer.replays(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_access_token_is_never_given_out_again() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    let newer = house.vault.checkout_newer(house.connection, nth(1)).await;
    assert!(matches!(newer, Err(CheckoutError::TryLater { not_before: Some(_), .. })), "{newer:?}");
    let newer = house.vault.checkout_newer(house.connection, nth(1)).await;
    assert!(matches!(newer, Err(CheckoutError::TryLater { .. })), "{newer:?}");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_credential_there_is_nothing_to_check_out() {
    let house = House::empty().await;
    assert!(matches!(house.vault.checkout(house.connection).await, Err(CheckoutError::NotFound)));
    assert_eq!(house.issuer.preparations.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_what_is_under_way_and_starts_nothing() {
    let house = House::new().await;
    let (account, other) = connect(&house.stores, &house.clock, 2).await;
    house.vault.grant(new_grant(account, other, "at-b", Some("rt-b"))).await.unwrap();
    house.pass(DUE);
    house.issuer.hold();
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.vault.drain(Duration::from_secs(3)).await, Drained { left: 1, unsaved: 0 });
    assert!(!house.vault.health().is_ready());

    assert_eq!(house.vault.checkout(other).await.unwrap().access_token.expose(), "at-b", "still valid");
    house.pass(EXPIRED - DUE);
    assert!(matches!(house.vault.checkout(other).await, Err(CheckoutError::TryLater { .. })));
    assert_eq!(*house.issuer.sent.lock(), ["rt-0"], "nothing new was sent");

    let vault = house.vault.clone();
    let drained = tokio::spawn(async move { vault.drain(Duration::from_secs(75)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!drained.is_finished());
    house.issuer.release();
    assert_eq!(drained.await.unwrap(), Drained { left: 0, unsaved: 0 });
    assert_eq!(house.stored_refresh_token().await, "rt-1");
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_wait_for_their_turn_are_not_begun_while_draining() {
    let house = House::empty().await;
    let mut connections = Vec::new();
    for seed in 10..20 {
        let (account, connection) = connect(&house.stores, &house.clock, seed).await;
        house.vault.grant(new_grant(account, connection, "at", Some(&format!("rt of {seed}")))).await.unwrap();
        connections.push(connection);
    }
    house.pass(EXPIRED);
    house.issuer.hold();
    let vault = house.vault.clone();
    let all = tokio::spawn(async move { join_all(connections.iter().map(|id| vault.checkout(*id))).await });
    house.issuer.saw(4).await;
    house.vault.drain(Duration::ZERO).await;
    house.issuer.release();
    let results = all.await.unwrap();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
    assert_eq!(house.issuer.sends(), 4);
    assert_eq!(house.vault.health().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_being_prepared_is_not_sent_while_draining() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let before = house.row().await;
    house.issuer.hang_preparations.store(true, Ordering::SeqCst);
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.vault.drain(Duration::ZERO).await;
    house.issuer.hang_preparations.store(false, Ordering::SeqCst);
    assert!(matches!(waiting.await.unwrap(), Err(CheckoutError::TryLater { .. })));
    let after = house.row().await;
    assert_eq!(CredentialRecord { used_at: before.used_at, ..after }, before, "only that it was asked for is new");
    assert_eq!((house.issuer.sends(), house.credentials.intents.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_has_its_intent_is_not_sent_while_draining_and_keeps_the_doubt() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.issuer.reply(Reply::Unknown);
    house.vault.checkout(house.connection).await.unwrap_err();
    let in_doubt = house.state().await;
    house.pass(60);
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    // It waits for whoever sent it first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(house.state().await, CredentialState::Refreshing { .. }));
    assert_eq!(house.vault.drain(Duration::from_secs(10)).await, Drained { left: 0, unsaved: 0 });
    assert!(matches!(waiting.await.unwrap(), Err(CheckoutError::TryLater { .. })));
    assert_eq!(house.state().await, in_doubt);
    assert_eq!(house.issuer.sends(), 1);
    // The next process may go on at once.
    let (next, issuer) = house.second_instance();
    assert_eq!(next.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handed_out_credential_is_shared_not_copied() {
    let house = House::new().await;
    let first = house.vault.checkout(house.connection).await.unwrap();
    let second = house.vault.checkout(house.connection).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(house.issuer.sends(), 0);
}
