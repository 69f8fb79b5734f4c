//! What follows from each thing that an issuer can answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bowerbird_core::ports::{Clock as _, RefreshRefusal};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{CredentialRecord, CredentialState, NeedsReauth, Schedule};
use bowerbird_vault::{CheckoutError, VaultHealth};

use super::support::{DUE, EXPIRED, House, LIFE, Reply, nth, vault_on};

/// The error's reason, when only the person can repair it.
fn reason<T: std::fmt::Debug>(result: Result<T, CheckoutError>) -> NeedsReauth {
    match result {
        Err(CheckoutError::NeedsReauth(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn seconds_to_wait<T: std::fmt::Debug>(house: &House, result: Result<T, CheckoutError>) -> i64 {
    match result {
        Err(CheckoutError::TryLater { not_before: Some(at), .. }) => at.millis_since(house.clock.now()) / 1000,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn granted_is_the_next_generation() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let usable = house.vault.checkout(house.connection).await.unwrap();
    assert_eq!((usable.generation, usable.access_token.expose()), (nth(2), "at-1"));
    assert_eq!(usable.expires_at, house.clock.now().plus_seconds(LIFE));
    let row = house.row().await;
    assert_eq!((row.generation, row.state), (nth(2), CredentialState::Ok));
    assert_eq!(row.fields.granted_generation, nth(1));
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_refreshes_send_each_token_once() {
    let house = House::new().await;
    for _ in 0..10 {
        house.pass(EXPIRED);
        house.vault.checkout(house.connection).await.unwrap();
    }
    let expected: Vec<String> = (0..10).map(|number| format!("rt-{number}")).collect();
    assert_eq!(*house.issuer.sent.lock(), expected);
    assert_eq!(house.row().await.generation, nth(11));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_refresh_token_keeps_the_one_at_hand() {
    let house = House::new().await;
    house.issuer.reply(Reply::WithoutRefreshToken);
    house.pass(EXPIRED);
    let usable = house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(usable.scope, "atproto transition:generic", "no scope in the answer either");
    assert_eq!(house.stored_refresh_token().await, "rt-0");
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(*house.issuer.sent.lock(), ["rt-0", "rt-0"]);
}

#[tokio::test(start_paused = true)]
async fn faulty_tokens_are_kept_and_never_used() {
    for fault in [NeedsReauth::SubjectMismatch, NeedsReauth::ScopeLost] {
        let house = House::new().await;
        house.issuer.reply(Reply::Fault(fault));
        house.pass(DUE);
        assert_eq!(reason(house.vault.checkout(house.connection).await), fault);
        let grant = house.vault.open(house.connection).await.unwrap().unwrap();
        assert_eq!(grant.generation, nth(2));
        assert_eq!(grant.state, CredentialState::NeedsReauth(fault));
        assert_eq!(grant.refresh_token.unwrap().expose(), "rt-1", "quarantined, not discarded");
        house.pass(EXPIRED);
        assert_eq!(reason(house.vault.checkout(house.connection).await), fault);
        assert_eq!(reason(house.vault.checkout_newer(house.connection, nth(2)).await), fault);
        assert_eq!(house.issuer.sends(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_no_database_takes_does_not_hold_the_instance_up() {
    let house = House::new().await;
    house.issuer.reply(Reply::Scope("atproto\0"));
    house.pass(EXPIRED);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::ScopeLost);
    assert!(house.vault.health().is_ready());
    assert_eq!(house.stored_refresh_token().await, "rt-1");
    assert_eq!(house.vault.standing(house.connection).await.unwrap().unwrap().scope, "atproto transition:generic");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn not_consumed_is_sent_a_second_time_with_a_fresh_preparation() {
    let house = House::new().await;
    house.issuer.reply(Reply::NotConsumed(None));
    house.pass(EXPIRED);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().generation, nth(2));
    assert_eq!(*house.issuer.sent.lock(), ["rt-0", "rt-0"]);
    assert_eq!(house.issuer.preparations.load(Ordering::SeqCst), 2);
    assert_eq!(house.issuer.replays(), 0);
}

#[tokio::test(start_paused = true)]
async fn not_consumed_twice_ends_the_run_with_the_credential_as_it_was() {
    let house = House::new().await;
    house.issuer.reply(Reply::NotConsumed(None));
    house.issuer.reply(Reply::NotConsumed(None));
    house.pass(EXPIRED);
    let before = house.row().await;
    assert_eq!(seconds_to_wait(&house, house.vault.checkout(house.connection).await), 2);
    let until = house.clock.now().plus_seconds(2);
    let schedule = Schedule { attempts: 1, not_before: Some(until), due_at: Some(until) };
    assert_eq!(house.row().await, CredentialRecord { schedule, ..before }, "and the pause is in the row");
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.second_instance().0.checkout(house.connection).await.ok().map(|usable| usable.generation), None);
    assert_eq!(house.issuer.sends(), 2, "not again before the wait is over");
    house.pass(2);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected_and_a_valid_token_used_meanwhile() {
    let house = House::new().await;
    house.pass(DUE);
    house.issuer.reply(Reply::NotConsumed(Some(house.clock.now().plus_seconds(300))));
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(house.state().await, CredentialState::Ok);
    house.pass(299);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(seconds_to_wait(&house, house.vault.checkout_newer(house.connection, nth(1)).await), 1);
    assert_eq!(house.issuer.sends(), 1);
    house.pass(1);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-2");
    assert_eq!(house.issuer.sends(), 2);
}

#[tokio::test(start_paused = true)]
async fn refused_with_nothing_unknown_before_it_is_revoked() {
    let house = House::new().await;
    house.issuer.reply(Reply::Refused);
    house.pass(DUE);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::Revoked);
    assert_eq!(house.state().await, CredentialState::NeedsReauth(NeedsReauth::Revoked));
    assert_eq!(house.stored_refresh_token().await, "rt-0", "nothing is deleted");
    house.pass(EXPIRED);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::Revoked);
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_while_a_login_came_in_uses_the_newer_grant() {
    let house = House::new().await;
    house.issuer.reply(Reply::Refused);
    house.issuer.hold();
    house.pass(EXPIRED);
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    // Waits its patience for the refresh, then goes on.
    let granted = house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert_eq!(granted.generation, nth(2));
    house.issuer.release();
    assert_eq!(waiting.await.unwrap().unwrap().access_token.expose(), "at-new");
    assert_eq!(house.state().await, CredentialState::Ok);
    assert_eq!(*house.issuer.sent.lock(), ["rt-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_never_overwrites_a_newer_grant() {
    let house = House::new().await;
    house.issuer.hold();
    house.pass(EXPIRED);
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    house.issuer.release();
    assert_eq!(waiting.await.unwrap().unwrap().access_token.expose(), "at-new");
    assert_eq!(house.stored_refresh_token().await, "rt-new");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_keeps_the_valid_token_in_use_and_sends_once_more_after_the_quiet_time() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.pass(DUE);
    let intent_at = house.clock.now();
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(house.state().await, CredentialState::Unknown { intent_at });
    for _ in 0..59 {
        house.pass(1);
        assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    }
    assert_eq!(house.issuer.sends(), 1, "not within the quiet time");
    house.pass(1);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-2");
    assert_eq!(*house.issuer.sent.lock(), ["rt-0", "rt-0"]);
    assert_eq!(house.state().await, CredentialState::Ok);
    assert_eq!(house.issuer.replays(), 0);
}

#[tokio::test(start_paused = true)]
async fn unknown_without_a_valid_token_asks_for_patience() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.pass(EXPIRED);
    assert_eq!(seconds_to_wait(&house, house.vault.checkout(house.connection).await), 60);
    assert_eq!(seconds_to_wait(&house, house.vault.checkout(house.connection).await), 60);
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_after_unknown_is_a_lost_response() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.issuer.reply(Reply::Refused);
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap_err();
    house.pass(60);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::LostResponse);
    assert_eq!(house.state().await, CredentialState::NeedsReauth(NeedsReauth::LostResponse));
    assert_eq!(house.issuer.sends(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_response_a_valid_token_is_used_to_its_end() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.issuer.reply(Reply::Refused);
    house.pass(DUE);
    house.vault.checkout(house.connection).await.unwrap();
    house.pass(60);
    // Whoever waits for the recovery, and whoever comes later, on this instance and on another.
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(house.state().await, CredentialState::NeedsReauth(NeedsReauth::LostResponse), "and the person is asked");
    let finds = house.credentials.finds.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    }
    assert_eq!(house.credentials.finds.load(Ordering::SeqCst), finds + 1, "read once, then at hand");
    let (second, other_issuer) = house.second_instance();
    assert_eq!(second.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");

    house.pass(u64::try_from(LIFE).unwrap() - DUE - 60 - 11);
    house.vault.checkout(house.connection).await.unwrap();
    house.pass(1);
    for vault in [&house.vault, &second] {
        assert_eq!(reason(vault.checkout(house.connection).await), NeedsReauth::LostResponse);
    }
    assert_eq!((house.issuer.sends(), other_issuer.sends()), (2, 0));
    assert_eq!(house.issuer.preparations.load(Ordering::SeqCst), 2);
    assert_eq!(house.stored_refresh_token().await, "rt-0", "nothing is deleted");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_after_a_lost_response_leads_to_the_person_and_to_no_refresh() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.issuer.reply(Reply::Refused);
    house.pass(DUE);
    house.vault.checkout(house.connection).await.unwrap();
    house.pass(60);
    // Who knows already that the token is refused gets the reason from the recovery itself.
    let refused = house.vault.checkout_newer(house.connection, nth(1)).await;
    assert_eq!(reason(refused), NeedsReauth::LostResponse);
    for _ in 0..3 {
        let usable = house.vault.checkout(house.connection).await.unwrap();
        let refused = house.vault.checkout_newer(house.connection, usable.generation).await;
        assert_eq!(reason(refused), NeedsReauth::LostResponse);
        house.pass(60);
    }
    assert_eq!(house.issuer.sends(), 2);
    // A login repairs it.
    house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    let newer = house.vault.checkout_newer(house.connection, nth(1)).await.unwrap();
    assert_eq!(newer.access_token.expose(), "at-new");
    assert_eq!(house.state().await, CredentialState::Ok);
    assert_eq!(house.issuer.sends(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_that_the_store_does_not_take_changes_nothing_for_the_caller() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.issuer.reply(Reply::Refused);
    house.pass(DUE);
    house.vault.checkout(house.connection).await.unwrap();
    house.pass(60);
    house.credentials.states_down.store(true, Ordering::SeqCst);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    let refused = house.vault.checkout_newer(house.connection, nth(1)).await;
    assert!(matches!(refused, Err(CheckoutError::TryLater { .. })), "the intent is still in the row: {refused:?}");
    assert_eq!(house.issuer.sends(), 2);
}

#[tokio::test(start_paused = true)]
async fn not_consumed_after_unknown_settles_nothing() {
    let house = House::new().await;
    for reply in [Reply::Unknown, Reply::NotConsumed(None), Reply::NotConsumed(None), Reply::Refused] {
        house.issuer.reply(reply);
    }
    house.pass(EXPIRED);
    let intent_at = house.clock.now();
    house.vault.checkout(house.connection).await.unwrap_err();
    house.pass(60);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 3);
    assert_eq!(house.state().await, CredentialState::Unknown { intent_at }, "the first send is still in doubt");
    house.pass(60);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::LostResponse);
    assert_eq!(house.issuer.sends(), 4);
}

#[tokio::test(start_paused = true)]
async fn unknown_again_waits_longer() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.issuer.reply(Reply::Unknown);
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap_err();
    house.pass(60);
    assert_eq!(seconds_to_wait(&house, house.vault.checkout(house.connection).await), 120);
    house.pass(119);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 2);
    house.pass(1);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 3);
}

/// An outage of the issuer, however long, costs nobody the sign-in; only what it says afterwards decides.
#[tokio::test(start_paused = true)]
async fn an_outage_decides_nothing_and_the_first_definite_answer_does() {
    for (answer, expected) in [
        (Reply::Granted, CredentialState::Ok),
        (Reply::Refused, CredentialState::NeedsReauth(NeedsReauth::LostResponse)),
    ] {
        let house = House::new().await;
        house.pass(EXPIRED);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            house.issuer.reply(Reply::Unknown);
            let intent_at = house.clock.now();
            let pause = seconds_to_wait(&house, house.vault.checkout(house.connection).await);
            assert_eq!(house.state().await, CredentialState::Unknown { intent_at });
            pauses.push(pause);
            house.pass(u64::try_from(pause).unwrap());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900, 900]);
        // A restart does not forget the pauses: they are in the row.
        let (vault, issuer) = house.second_instance();
        issuer.reply(Reply::Unknown);
        vault.checkout(house.connection).await.unwrap_err();
        house.pass(899);
        let (vault, issuer_after_restart) = house.second_instance();
        vault.checkout(house.connection).await.unwrap_err();
        assert_eq!(issuer_after_restart.sends(), 0);
        house.pass(1);
        issuer_after_restart.reply(answer);
        assert_eq!(vault.checkout(house.connection).await.is_ok(), expected == CredentialState::Ok);
        assert_eq!(house.state().await, expected);
        assert_eq!((house.issuer.sends(), issuer.sends(), issuer_after_restart.sends()), (7, 1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_out_of_reach_costs_no_send_and_no_intent() {
    let house = House::new().await;
    house.issuer.refuse(RefreshRefusal::NotNow("no route to host".into()));
    house.pass(DUE);
    let before = house.row().await;
    house.vault.checkout(house.connection).await.unwrap();
    let finds = house.credentials.finds.load(Ordering::SeqCst);
    for _ in 0..50 {
        assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    }
    assert_eq!(house.credentials.finds.load(Ordering::SeqCst), finds, "the row is not read for every call either");
    assert_eq!(house.issuer.preparations.load(Ordering::SeqCst), 1, "not asked again at once");
    house.pass(EXPIRED - DUE);
    house.issuer.refuse(RefreshRefusal::NotNow("no route to host".into()));
    assert_eq!(seconds_to_wait(&house, house.vault.checkout(house.connection).await), 4);
    assert_eq!(house.row().await, before);
    assert_eq!((house.issuer.sends(), house.credentials.intents.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_marks_the_credential_and_sends_nothing() {
    let house = House::new().await;
    house.issuer.refuse(RefreshRefusal::Final(NeedsReauth::IssuerChanged));
    house.pass(DUE);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::IssuerChanged);
    assert_eq!(house.state().await, CredentialState::NeedsReauth(NeedsReauth::IssuerChanged));
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::IssuerChanged);
    assert_eq!((house.issuer.sends(), house.credentials.intents.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_hangs_is_given_up_with_nothing_sent() {
    let house = House::new().await;
    house.issuer.hang_preparations.store(true, Ordering::SeqCst);
    house.pass(EXPIRED);
    let begun = tokio::time::Instant::now();
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    assert_eq!((house.issuer.sends(), house.credentials.intents.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_took_too_long_is_not_followed_by_a_send() {
    let house = House::new().await;
    house.credentials.begin_takes.store(46, Ordering::SeqCst);
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 0);
    assert_eq!(house.state().await, CredentialState::Ok, "nothing was sent, so nothing is in doubt");
    house.credentials.begin_takes.store(45, Ordering::SeqCst);
    house.pass(2);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_the_access_token_is_used_to_its_end() {
    let house = House::empty().await;
    house.vault.grant(house.grant("at-0", None)).await.unwrap();
    house.pass(3589);
    house.vault.checkout(house.connection).await.unwrap();
    house.pass(1);
    assert_eq!(reason(house.vault.checkout(house.connection).await), NeedsReauth::NoRefreshToken);
    assert_eq!(house.state().await, CredentialState::NeedsReauth(NeedsReauth::NoRefreshToken));
    assert_eq!((house.issuer.sends(), house.issuer.preparations.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_access_token_without_a_refresh_token_needs_the_person() {
    let house = House::empty().await;
    house.vault.grant(house.grant("at-0", None)).await.unwrap();
    let newer = house.vault.checkout_newer(house.connection, nth(1)).await;
    assert_eq!(reason(newer), NeedsReauth::NoRefreshToken);
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_the_wrong_key_nothing_is_sent_and_nothing_written() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let before = house.row().await;
    for keys in [FixedKeys::of(&[("ktest", [8; 32])]), FixedKeys::of(&[("other", [7; 32])])] {
        let vault = vault_on(&house.stores, &house.issuer, &house.clock, keys, "cluster-a");
        assert_eq!(reason(vault.checkout(house.connection).await), NeedsReauth::Unreadable);
        assert_eq!(house.row().await, before);
    }
    assert_eq!(house.issuer.sends(), 0);
    assert!(house.vault.checkout(house.connection).await.is_ok(), "with the right key it is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_the_store_refuses_changes_nothing_about_the_protocol() {
    let house = House::new().await;
    house.issuer.reply(Reply::Unknown);
    house.credentials.states_down.store(true, Ordering::SeqCst);
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert!(matches!(house.state().await, CredentialState::Refreshing { .. }), "the intent stays");
    house.pass(119);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 1);
    house.pass(1);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_breaks_leaves_its_intent_and_no_entry() {
    let house = House::new().await;
    house.issuer.reply(Reply::Panic);
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.vault.health(), VaultHealth { unsaved: 0, in_flight: 0, draining: false, suspended: None });
    house.pass(119);
    house.vault.checkout(house.connection).await.unwrap_err();
    assert_eq!(house.issuer.sends(), 1);
    house.pass(1);
    house.vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 2);
}
