//! Crashes, several instances, and a store that refuses at the worst moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bowerbird_core::{CredentialState, NeedsReauth};
use bowerbird_vault::{CheckoutError, VaultHealth};
use futures_util::future::join_all;

use super::support::{DUE, EXPIRED, Fail, House, Reply, nth};

/// Leaves an intent behind and a process that will never hear the answer.
async fn crash_after_sending(house: &House) {
    house.issuer.reply(Reply::Never);
    let (vault, connection) = (house.vault.clone(), house.connection);
    tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_nothing_is_sent_before_the_quiet_time_and_once_after_it() {
    let house = House::new().await;
    house.pass(EXPIRED);
    crash_after_sending(&house).await;
    let (vault, issuer) = house.second_instance();
    for _ in 0..4 {
        let waited = vault.checkout(house.connection).await;
        assert!(matches!(waited, Err(CheckoutError::TryLater { not_before: Some(_), .. })), "{waited:?}");
        assert_eq!(issuer.sends(), 0);
        house.pass(29);
    }
    house.pass(4);
    let checkouts = join_all((0..20).map(|_| vault.checkout(house.connection))).await;
    assert!(checkouts.iter().all(|usable| usable.as_ref().is_ok_and(|usable| usable.generation == nth(2))));
    assert_eq!(*issuer.sent.lock(), ["rt-0"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_valid_token_is_used_during_the_quiet_time() {
    let house = House::new().await;
    house.pass(DUE);
    crash_after_sending(&house).await;
    let (vault, issuer) = house.second_instance();
    house.pass(119);
    assert_eq!(vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(issuer.sends(), 0);
    house.pass(1);
    assert_eq!(vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_crash_is_a_lost_response() {
    let house = House::new().await;
    house.pass(EXPIRED);
    crash_after_sending(&house).await;
    let (vault, issuer) = house.second_instance();
    issuer.reply(Reply::Refused);
    house.pass(120);
    let refused = vault.checkout(house.connection).await;
    assert!(matches!(refused, Err(CheckoutError::NeedsReauth(NeedsReauth::LostResponse))), "{refused:?}");
    assert_eq!(issuer.sends(), 1);
    assert_eq!(house.stored_refresh_token().await, "rt-0", "nothing is deleted");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_answers_late_is_still_right() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.issuer.hold();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let paused = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    house.pass(119);
    let (second, issuer) = house.second_instance();
    second.checkout(house.connection).await.unwrap_err();
    house.issuer.release();
    assert_eq!(paused.await.unwrap().unwrap().generation, nth(2));
    house.pass(1);
    assert_eq!(second.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!((house.issuer.sends(), issuer.sends()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn two_instances_send_one_refresh_token_between_them() {
    let house = House::new().await;
    let (second, issuer) = house.second_instance();
    house.pass(EXPIRED);
    let first = join_all((0..50).map(|_| house.vault.checkout(house.connection)));
    let (first, second) = tokio::join!(first, join_all((0..50).map(|_| second.checkout(house.connection))));
    for usable in first.into_iter().chain(second) {
        assert_eq!(usable.unwrap().access_token.expose(), "at-1");
    }
    assert_eq!(house.issuer.sends() + issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_instance_waits_for_the_row_and_not_for_the_issuer() {
    let house = House::new().await;
    let (second, issuer) = house.second_instance();
    house.pass(EXPIRED);
    house.issuer.hold();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let first = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    let waiting = tokio::spawn(async move { second.checkout(connection).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    house.issuer.release();
    assert_eq!(waiting.await.unwrap().unwrap().generation, nth(2));
    assert_eq!(first.await.unwrap().unwrap().generation, nth(2));
    assert_eq!((house.issuer.sends(), issuer.sends()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_the_store_refuses_are_kept_until_it_takes_them() {
    let house = House::new().await;
    house.pass(DUE);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    let waited = house.vault.checkout(house.connection).await;
    assert!(matches!(waited, Err(CheckoutError::TryLater { .. })), "the old token is dead: {waited:?}");
    assert_eq!(house.vault.health(), VaultHealth { unsaved: 1, in_flight: 1, draining: false, suspended: None });
    assert!(!house.vault.health().is_ready());

    // Far longer than any lease: the flight is still here, and nobody sends again.
    for _ in 0..10 {
        house.pass(60);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(matches!(house.vault.checkout(house.connection).await, Err(CheckoutError::TryLater { .. })));
        assert!(house.vault.checkout_newer(house.connection, nth(1)).await.is_err());
    }
    assert_eq!(house.issuer.sends(), 1);
    assert!(house.credentials.commit_calls.load(Ordering::SeqCst) > 100, "it goes on trying");
    let drained = house.vault.drain(Duration::from_secs(1)).await;
    assert_eq!((drained.left, drained.unsaved), (1, 1));

    house.credentials.commits_down.store(false, Ordering::SeqCst);
    assert_eq!(house.vault.drain(Duration::from_secs(2)).await.left, 0);
    assert_eq!(house.vault.health().unsaved, 0);
    assert_eq!(house.stored_refresh_token().await, "rt-1");
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_opened_token_is_not_given_out_once_its_successor_is_here() {
    let house = House::new().await;
    // Fresh by the clock, and kept at hand; then a server refuses it.
    house.vault.checkout(house.connection).await.unwrap();
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    house.vault.checkout_newer(house.connection, nth(1)).await.unwrap_err();
    assert_eq!(house.vault.health().unsaved, 1);
    let dead = house.vault.checkout(house.connection).await;
    assert!(matches!(dead, Err(CheckoutError::TryLater { .. })), "{dead:?}");
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    house.vault.drain(Duration::from_secs(2)).await;
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_the_store_the_holder_of_a_successor_comes_first() {
    let house = House::new().await;
    let (second, issuer) = house.second_instance();
    house.pass(EXPIRED);
    house.issuer.hold();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let first = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    house.credentials.down.store(true, Ordering::SeqCst);
    house.issuer.release();
    first.await.unwrap().unwrap_err();
    // Longer than the lease: by the row alone, the other instance may send the token once more.
    house.pass(200);
    tokio::time::sleep(Duration::from_secs(200)).await;
    house.credentials.down.store(false, Ordering::SeqCst);
    assert_eq!(second.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!((house.issuer.sends(), issuer.sends()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_acknowledgement_was_lost_is_recognized() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.credentials.commits.lock().push_back(Fail::After);
    house.vault.checkout(house.connection).await.unwrap_err();
    house.vault.drain(Duration::from_secs(2)).await;
    assert_eq!(house.row().await.generation, nth(2));
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_written_intent_nothing_is_sent() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.credentials.begins.lock().push_back(Fail::Before);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!((house.issuer.sends(), house.state().await), (0, CredentialState::Ok));
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_intent_of_unknown_fate_is_not_followed_by_a_send() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.credentials.begins.lock().push_back(Fail::After);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 0);
    house.pass(119);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 0);
    house.pass(1);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
}
