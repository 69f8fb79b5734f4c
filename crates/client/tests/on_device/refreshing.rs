//! Refreshing: one request for many callers, saved before it is used, and never a token that is known to be spent.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_client::{Call, KitError};
use bowerbird_testkit::fault::{FaultNetwork, Misbehave, endpoint};
use serde_json::json;

use crate::world::{GET_SESSION, Line, World};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_at_expiry_make_one_token_request() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    let client = world.manager.session_for(account.id).unwrap();
    let server = world.network.authorization_server().server().clone();
    server.misbehave(endpoint::TOKEN, Misbehave::DelayAfter(Duration::from_millis(300)));
    world.network.expire_all_access_tokens();
    world.calm.pass(3600);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || client.call(&Call::query(GET_SESSION, &[])).unwrap().status().as_u16())
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), 200);
    }
    assert_eq!(world.shown(), 1, "one refresh token was used");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ended_early_costs_one_refresh_and_the_call_goes_on() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    let client = world.manager.session_for(account.id).unwrap();
    world.network.expire_all_access_tokens();
    let post = Call::procedure(
        "com.atproto.repo.createRecord",
        &json!({"repo": account.did, "collection": "app.bsky.feed.post", "record": {"text": "hello"}}),
    );
    assert!(client.call(&post).unwrap().status().is_success(), "a procedure too: it was refused at the door");
    assert_eq!(world.shown(), 1);
    // It is due a fifth of its life before it ends, and used as long as it must.
    world.calm.pass(2900);
    assert!(world.call(&account).unwrap().status().is_success());
    assert_eq!(world.shown(), 2);
    let world = world.restarted();
    assert!(world.call(&account).unwrap().status().is_success(), "the saved one is used after a restart");
    assert_eq!(world.shown(), 2);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_that_could_not_be_noted_before() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    *world.store.writes_left.lock() = Some(0);
    assert!(matches!(world.call(&account), Err(KitError::Store(_))));
    assert_eq!(world.token_requests("refresh_token"), 0, "the intent could not be written");
    *world.store.writes_left.lock() = None;
    assert!(world.call(&account).unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surely_never_left_is_sent_again() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    world.tap.upset(endpoint::TOKEN, Line::NotSent);
    world.tap.upset(endpoint::TOKEN, Line::NotSent);
    assert!(world.call(&account).unwrap().status().is_success());
    assert_eq!((world.pauses(), world.shown()), (vec![2, 4], 1));
    // And when it never leaves, it is as if nothing had been.
    world.network.expire_all_access_tokens();
    for _ in 0..4 {
        world.tap.upset(endpoint::TOKEN, Line::NotSent);
    }
    assert!(matches!(world.call(&account), Err(KitError::Offline(_))));
    assert_eq!(world.manager.accounts()[0].needs_sign_in, None);
    assert!(world.call(&account).unwrap().status().is_success());
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_was_withdrawn_asks_for_a_sign_in_and_keeps_the_account() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.authorization_server().revoke_all_of(&alice.did);
    let gone = world.call(&account).unwrap_err();
    assert!(matches!(&gone, KitError::SignInRequired { reason, .. } if reason == "revoked"), "{gone:?}");
    assert_eq!(world.manager.accounts()[0].needs_sign_in.as_deref(), Some("revoked"));
    let sent = world.token_requests("refresh_token");
    let world = world.restarted();
    assert!(world.call(&account).is_err());
    assert_eq!(world.token_requests("refresh_token"), sent, "it is told once, then nothing is sent any more");
    let again = world.sign_in("alice.test").await;
    assert_eq!((again.id, again.needs_sign_in.clone()), (account.id, None));
    assert!(world.call(&again).unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_fourteen_days_the_reason_is_known() {
    let world = World::new().await;
    world.account("alice.test");
    world.network.authorization_server().set_refresh_seconds(0);
    let account = world.sign_in("alice.test").await;
    world.network.expire_all_access_tokens();
    world.calm.pass(15 * 24 * 3600);
    world.network.clock().set_off(15 * 24 * 3600);
    assert!(account.session_ends_at.unwrap() < bowerbird_client::DeviceClock::now(&*world.calm));
    let over = world.call(&account).unwrap_err();
    assert!(matches!(&over, KitError::SignInRequired { reason, .. } if reason == "session_expired"), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_for_now_ends_nothing() {
    let world = World::new().await;
    world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    let server = world.network.authorization_server().server().clone();
    world.network.expire_all_access_tokens();
    for wrong in [
        Misbehave::oauth_error(400, "invalid_client", "not now"),
        Misbehave::oauth_error(400, "invalid_dpop_proof", "not now"),
        Misbehave::too_many_requests("30"),
        Misbehave::ChallengeNonce,
    ] {
        let told = format!("{wrong:?}");
        server.misbehave(endpoint::TOKEN, wrong);
        let error = world.call(&account).unwrap_err();
        assert!(error.is_temporary(), "{told}: {error:?}");
        server.behave();
        assert_eq!(world.manager.accounts()[0].needs_sign_in, None, "{told}");
    }
    assert!(world.call(&account).unwrap().status().is_success(), "the same token, which nobody had looked at");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_moved_to_another_issuer_is_not_refreshed_there() {
    let network = FaultNetwork::start().await;
    let (new_pds, new_issuer) = network.add_self_hosted();
    let world = World::on(network);
    let alice = world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    world.network.move_account(&alice.did, &new_pds);
    world.network.expire_all_access_tokens();
    let moved = world.call(&account).unwrap_err();
    assert!(matches!(&moved, KitError::SignInRequired { reason, .. } if reason == "moved"), "{moved:?}");
    assert_eq!((world.shown(), new_issuer.token_calls()), (0, 0), "the token went to nobody");
    world.network.ledger().assert_nothing_sighted_at(new_pds.origin());
    let again = world.sign_in("alice.test").await;
    assert_eq!((again.id, again.pds.as_deref()), (account.id, Some(new_pds.origin())));
    assert!(world.call(&again).unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_somebody_else_is_kept_apart_and_never_used() {
    let world = World::new().await;
    let (_, bob) = (world.account("alice.test"), world.account("bob.test"));
    let account = world.sign_in("alice.test").await;
    let server = world.network.authorization_server().server().clone();
    for patch in [json!({"sub": bob.did}), json!({"scope": "transition:generic"}), json!({"token_type": "Bearer"})] {
        world.network.expire_all_access_tokens();
        server.misbehave(endpoint::TOKEN, Misbehave::merge(patch.clone()));
        let refused = world.call(&account).unwrap_err();
        assert!(matches!(&refused, KitError::SignInRequired { reason, .. } if reason == "answer_refused"), "{patch}");
        server.behave();
        let calls = world.network.pds().server().count("/xrpc/com.atproto.server.getSession");
        assert!(world.call(&account).is_err());
        assert_eq!(
            world.network.pds().server().count("/xrpc/com.atproto.server.getSession"),
            calls,
            "{patch}: not used"
        );
        world.sign_in("alice.test").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_of_meanwhile_is_not_overwritten_by_a_late_refresh() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    let server = world.network.authorization_server().server().clone();
    world.network.expire_all_access_tokens();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::DelayAfter(Duration::from_millis(800)));
    let manager = world.manager.clone();
    let id = account.id;
    let late = std::thread::spawn(move || manager.session_for(id).unwrap().call(&Call::query(GET_SESSION, &[])));
    std::thread::sleep(Duration::from_millis(200));
    let callback = world.callback("alice.test").await;
    let again = world.manager.complete_sign_in_on_device(&callback).unwrap();
    assert_eq!(again.id, account.id);
    let answer = late.join().unwrap();
    assert!(answer.is_ok(), "the caller gets the new one: {answer:?}");
    assert!(world.call(&again).unwrap().status().is_success());
    assert_eq!(world.live_grants(&alice), 1, "the late one was ended");
    drop(Arc::clone(&world.store));
}
