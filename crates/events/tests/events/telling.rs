//! What is news and what is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bowerbird_core::ports::AccountEventKind;
use bowerbird_core::{CredentialState, NeedsReauth};
use bowerbird_events::Subscription;
use bowerbird_vault::Suspension;

use crate::support::{House, pass, settled};

/// The types of the events that wait in a stream.
async fn heard(stream: &mut Subscription) -> Vec<String> {
    let mut types = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), stream.next()).await {
        let text = String::from_utf8(event.unwrap().frame.to_vec()).unwrap();
        types.push(text.lines().find_map(|line| line.strip_prefix("event: ")).unwrap().to_owned());
    }
    types
}

#[tokio::test(start_paused = true)]
async fn an_incident_is_told_once_by_however_many_hear_of_it_and_so_is_its_end() {
    let house = House::new();
    let (one, two) = (house.start(), house.start());
    let alice = house.account(1).await;
    let mut streams = [&one, &two].map(|instance| instance.hub.streams().follow("a", &[alice.0.id]).unwrap());
    for _ in 0..3 {
        house.ends(&alice, &[&one, &two]).await;
    }
    assert_eq!(house.receiver.types(), ["needs_reauth"]);
    for _ in 0..3 {
        house.heals(&alice, &[&two, &one]).await;
    }
    assert_eq!(house.receiver.types(), ["needs_reauth", "recovered"]);
    for stream in &mut streams {
        assert_eq!(heard(stream).await, ["needs_reauth", "recovered"], "at either instance");
    }
    // A restart does not tell it again, and a new incident is a new one.
    house.ends(&alice, &[&one]).await;
    one.die().await;
    two.die().await;
    let three = house.start();
    house.ends(&alice, &[&three]).await;
    assert_eq!(house.receiver.types(), ["needs_reauth", "recovered", "needs_reauth"]);
    assert_eq!(three.figure("bowerbird_events_total{type=\"needs_reauth\"}"), "0", "that one told nothing");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_in_the_history_of_its_account_once() {
    let house = House::new();
    let (one, two) = (house.start(), house.start());
    let (alice, bob) = (house.account(1).await, house.account(2).await);
    for _ in 0..2 {
        house.ends(&alice, &[&one, &two]).await;
    }
    for _ in 0..2 {
        house.heals(&alice, &[&two, &one]).await;
    }
    house.tell(&one, &bob, AccountEventKind::Refreshed);
    settled(&[&one]).await;
    let history = async |account| house.stores.security_events.list(account, None, 10).await.unwrap();
    let kinds: Vec<_> = history(alice.0.id).await.into_iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.contains(&"recovered") && kinds.contains(&"needs_reauth"), "{kinds:?}");
    assert_eq!(history(bob.0.id).await, [], "renewals are no news to a person");
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_ends_badly_is_told_twice_and_one_that_ends_well_recovers() {
    let house = House::new();
    let one = house.start();
    let (alice, bob) = (house.account(1).await, house.account(2).await);
    for person in [&alice, &bob] {
        house.set(person.1, &CredentialState::Unknown { intent_at: bowerbird_core::Timestamp::EPOCH }).await;
        house.tell(&one, person, AccountEventKind::OutcomeUnknown);
    }
    settled(&[&one]).await;
    let lost = NeedsReauth::LostResponse;
    house.set(alice.1, &CredentialState::NeedsReauth(lost)).await;
    house.tell(&one, &alice, AccountEventKind::NeedsReauth(lost));
    house.heals(&bob, &[&one]).await;
    let mut told = house.receiver.types();
    told[2..].sort();
    assert_eq!(told, ["outcome_unknown", "outcome_unknown", "lost_response", "recovered"]);
}

#[tokio::test(start_paused = true)]
async fn renewals_reach_streams_everywhere_and_webhooks_only_where_asked_for() {
    let mut house = House::new();
    let alice = house.account(1).await;
    let (one, two) = (house.start(), house.start());
    let mut elsewhere = two.hub.streams().follow("a", &[alice.0.id]).unwrap();
    let mut everything = one.hub.streams().follow_everything().unwrap();
    house.tell(&one, &alice, AccountEventKind::Refreshed);
    settled(&[&one]).await;
    assert_eq!(
        (heard(&mut elsewhere).await, heard(&mut everything).await),
        (vec!["refreshed".to_owned()], vec!["refreshed".to_owned()])
    );
    assert!(house.receiver.came().is_empty());
    house.types.push("refreshed");
    let three = house.start();
    house.tell(&three, &alice, AccountEventKind::Refreshed);
    settled(&[&three]).await;
    assert_eq!(house.receiver.types(), ["refreshed"]);
}

#[tokio::test(start_paused = true)]
async fn news_of_somebody_who_is_gone_are_none() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    house.set(alice.1, &CredentialState::NeedsReauth(NeedsReauth::Revoked)).await;
    house.stores.accounts.remove(alice.0.id).await.unwrap();
    house.tell(&one, &alice, AccountEventKind::NeedsReauth(NeedsReauth::Revoked));
    settled(&[&one]).await;
    assert!(house.receiver.came().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_told_although_the_store_is_away() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    let mut stream = one.hub.streams().follow("a", &[alice.0.id]).unwrap();
    house.away.store(true, Ordering::Relaxed);
    house.receiver.script.lock().push(crate::support::Behaviour::Status(500));
    house.ends(&alice, &[&one]).await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(heard(&mut stream).await, ["needs_reauth"]);
    assert_eq!(house.receiver.types(), ["needs_reauth", "needs_reauth"], "sent from memory, and again after a failure");
    house.away.store(false, Ordering::Relaxed);
    assert_eq!(house.waiting().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_is_told_once_through_restarts_and_its_end_once() {
    let house = House::new();
    let one = house.start();
    pass(Duration::from_secs(5)).await;
    assert!(house.receiver.came().is_empty(), "nothing was suspended before");
    one.vault.suspend(Suspension::RestoredBackup);
    pass(Duration::from_mins(1)).await;
    assert_eq!(house.receiver.types(), ["refreshing_suspended"]);
    let body = house.receiver.came()[0].json();
    assert_eq!((body["reason"].as_str(), body["instance"].as_str()), (Some("restored_backup"), Some("one")));
    assert!(body.get("accountId").is_none() && body.get("repairUrl").is_none());
    one.die().await;

    let two = house.start();
    two.vault.suspend(Suspension::RestoredBackup);
    pass(Duration::from_mins(1)).await;
    assert_eq!(house.receiver.types().len(), 1, "still the same incident");
    two.vault.suspend(Suspension::DamagedDatabase);
    pass(Duration::from_secs(5)).await;
    assert_eq!(house.receiver.types().len(), 2, "another one");
    two.die().await;

    let _three = house.start();
    pass(Duration::from_secs(5)).await;
    assert_eq!(house.receiver.types()[2..], ["refreshing_resumed"], "all is well after a restart");
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_did_not_live_to_tell_is_told_by_the_next_one() {
    let house = House::new();
    let people = [house.account(1).await, house.account(2).await];
    // The row is written, and nobody hears of it.
    for person in &people {
        house.ends(person, &[]).await;
    }
    let one = house.start();
    pass(Duration::from_secs(5)).await;
    assert_eq!(house.receiver.types(), ["needs_reauth", "needs_reauth"]);
    // The news that come late are none.
    house.ends(&people[0], &[&one]).await;
    one.die().await;
    house.heals(&people[0], &[]).await;
    let _two = house.start();
    pass(Duration::from_secs(5)).await;
    assert_eq!(house.receiver.types()[2..], ["recovered"]);
    pass(Duration::from_mins(10)).await;
    assert_eq!(house.receiver.types().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn more_news_than_can_wait_are_dropped_and_counted() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    for _ in 0..5_000 {
        house.tell(&one, &alice, AccountEventKind::Refreshed);
    }
    assert_eq!(one.figure("bowerbird_events_dropped_total"), (5_000 - 4_096).to_string());
    settled(&[&one]).await;
    assert_eq!(one.figure("bowerbird_events_total{type=\"refreshed\"}"), "4096");
}
