//! An app that is stopped between any two steps of a refresh, and answers that never come.

use bowerbird_client::KitError;
use bowerbird_testkit::fault::endpoint;

use crate::world::{Line, World};

fn reason(error: &KitError) -> &str {
    match error {
        KitError::SignInRequired { reason, .. } => reason,
        KitError::Server(refusal) => &refusal.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_between_the_note_and_the_send() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    // It was noted, and no byte left; the app cannot know that.
    world.tap.upset(endpoint::TOKEN, Line::Cut);
    assert!(matches!(world.call(&account), Err(KitError::Offline(_))));
    assert_eq!(world.shown(), 0);
    let world = world.restarted();
    // For a minute nothing is sent: the server might still be at it.
    world.calm.pass(59);
    let early = world.call(&account).unwrap_err();
    assert_eq!((reason(&early), early.is_temporary()), ("refresh_unsettled", true));
    assert_eq!((world.shown(), world.manager.accounts()[0].needs_sign_in.clone()), (0, None));
    world.calm.pass(2);
    assert!(world.call(&account).unwrap().status().is_success(), "sent once more, and nothing was lost");
    assert_eq!(world.shown(), 1);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lost_answers_are_enough() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    for _ in 0..2 {
        world.tap.upset(endpoint::TOKEN, Line::Cut);
        assert!(matches!(world.call(&account), Err(KitError::Offline(_))));
        world.calm.pass(61);
    }
    let token_requests = |world: &World| world.tap.sent().iter().filter(|to| to.ends_with(endpoint::TOKEN)).count();
    let sent = token_requests(&world);
    for _ in 0..2 {
        assert_eq!(reason(&world.call(&account).unwrap_err()), "lost_response");
        world.calm.pass(61);
    }
    assert_eq!(token_requests(&world), sent, "not a third time");
    assert!(world.kept().contains(&"grant".to_owned()), "nothing is deleted on doubt");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_between_the_answer_and_the_note() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    // One write succeeds, the intent; the answer cannot be saved, and then the app is stopped.
    *world.store.writes_left.lock() = Some(1);
    assert!(matches!(world.call(&account), Err(KitError::Store(_))));
    assert_eq!(world.shown(), 1);
    let world = world.restarted();
    world.calm.pass(61);
    let lost = world.call(&account).unwrap_err();
    assert_eq!(reason(&lost), "lost_response");
    assert_eq!(world.shown(), 2, "sent once more: nothing else was left");
    assert!(world.call(&account).is_err());
    assert_eq!(world.shown(), 2, "and never a third time");
    assert!(world.kept().contains(&"grant".to_owned()), "nothing is deleted on doubt");
    assert_eq!(world.manager.accounts()[0].needs_sign_in.as_deref(), Some("lost_response"));
    let again = world.sign_in("alice.test").await;
    assert!(world.call(&again).unwrap().status().is_success());
    assert_eq!(world.live_grants(&alice), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_for_a_while_loses_nothing() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    *world.store.writes_left.lock() = Some(1);
    assert!(matches!(world.call(&account), Err(KitError::Store(_))), "nobody gets what is not saved");
    assert!(matches!(world.call(&account), Err(KitError::Store(_))));
    assert_eq!(world.shown(), 1, "and nothing is sent meanwhile");
    *world.store.writes_left.lock() = None;
    assert!(world.call(&account).unwrap().status().is_success(), "it was in memory");
    assert_eq!(world.shown(), 1);
    let world = world.restarted();
    assert!(world.call(&account).unwrap().status().is_success(), "and is saved now");
    assert_eq!(world.shown(), 1);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_old_access_token_works_a_doubt_costs_nothing() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.calm.pass(2900);
    world.tap.upset(endpoint::TOKEN, Line::Cut);
    assert!(world.call(&account).unwrap().status().is_success(), "due, not needed: the old one is used");
    let world = world.restarted();
    for _ in 0..3 {
        assert!(world.call(&account).unwrap().status().is_success());
    }
    world.calm.pass(300);
    assert!(world.call(&account).unwrap().status().is_success());
    assert_eq!(world.shown(), 0, "the call itself is the question whether it was used");
    world.calm.pass(400);
    assert!(world.call(&account).unwrap().status().is_success());
    assert_eq!(world.shown(), 1, "sent once more when nothing else was left");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out_by_the_next_call() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.calm.pass(2900);
    world.tap.upset(endpoint::TOKEN, Line::AnswerLost);
    // The nonce is known, so that the first request is the one that counts.
    let first = world.call(&account);
    assert_eq!(world.shown(), 1);
    // The server rotated: the old access token is dead, which the call has told, and the doubt stands for a minute.
    assert_eq!(reason(&first.unwrap_err()), "refresh_unsettled");
    world.calm.pass(61);
    assert_eq!(reason(&world.call(&account).unwrap_err()), "lost_response");
    assert_eq!(world.shown(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_write_of_a_refresh() {
    // Whatever write is the last one: after a restart and a minute, the account works or asks for a sign-in, with everything
    // that it had still there; and no token is sent a third time.
    for writes in 0..6 {
        let world = World::new().await;
        world.account("alice.test");
        let account = world.sign_in("alice.test").await;
        world.network.expire_all_access_tokens();
        *world.store.writes_left.lock() = Some(writes);
        let _ended = world.call(&account);
        let world = world.restarted();
        world.calm.pass(61);
        let outcome = world.call(&account);
        match &outcome {
            Ok(answer) => assert!(answer.status().is_success(), "{writes}"),
            Err(error) => {
                assert_eq!((writes, reason(error)), (1, "lost_response"), "only where the answer was unsaved");
            }
        }
        assert!(world.shown() <= 2 && world.kept().contains(&"grant".to_owned()), "{writes}");
        if outcome.is_ok() {
            world.network.assert_clean();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_write_of_a_sign_in() {
    for writes in 0..8 {
        let world = World::new().await;
        let alice = world.account("alice.test");
        let callback = world.callback("alice.test").await;
        *world.store.writes_left.lock() = Some(writes);
        let ended = world.manager.complete_sign_in_on_device(&callback);
        if ended.is_err() {
            assert_eq!(world.live_grants(&alice), 0, "{writes}: nobody holds it, so it was revoked");
        }
        let world = world.restarted();
        let account = match ended {
            Ok(account) => account,
            Err(_) => world.sign_in("alice.test").await,
        };
        assert!(world.call(&account).unwrap().status().is_success(), "{writes}");
        assert_eq!((world.manager.accounts().len(), world.live_grants(&alice)), (1, 1), "{writes}");
        world.network.assert_clean();
    }
}
