//! Calls: the seal as bearer, renewal before it is due and after it was refused, once for all callers.

use std::sync::Barrier;

use bowerbird_client::{Call, KitError};
use serde_json::json;

use crate::world::{Upset, World};

const TIMELINE: &str = "/xrpc/app.bsky.feed.getTimeline";

fn timeline() -> Call {
    Call::query("app.bsky.feed.getTimeline", &[("limit", "1 0&x"), ("cursor", "ä")])
}

fn post() -> Call {
    Call::procedure("com.atproto.repo.createRecord", &json!({"text": "hello"}))
}

#[test]
fn a_session_is_renewed_before_it_ends_and_saved_before_it_is_used() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    client.call(&timeline()).unwrap();
    assert_eq!(world.server.count("/api/auth/tokens"), 1, "not due yet");
    world.calm.pass(3301);
    let writes = world.store.writes.lock().len();
    client.call(&timeline()).unwrap();
    assert_eq!(world.server.count("/api/auth/tokens"), 2);
    let saved = &world.store.writes.lock()[writes..];
    assert_eq!(saved, [format!("save com.app.account.{}.session", alice.id)]);
    let bearers: Vec<String> = world.server.to(TIMELINE).into_iter().map(|(bearer, _)| bearer).collect();
    assert_eq!(bearers.len(), 2);
    assert_ne!(bearers[0], bearers[1]);
}

#[test]
fn a_renewed_session_that_cannot_be_saved_is_not_used() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    world.server.forget_seals();
    *world.store.writes_left.lock() = Some(0);
    assert!(matches!(client.call(&timeline()), Err(KitError::Store(_))));
    assert_eq!(world.server.count(TIMELINE), 1, "the new seal was not shown");
    // The predecessor is good until its successor is used: after the fault, everything is as before.
    *world.store.writes_left.lock() = None;
    assert!(client.call(&timeline()).is_ok());
}

#[test]
fn a_lost_answer_to_a_renewal_costs_nothing() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    world.calm.pass(3500);
    world.server.upset("/api/auth/tokens", Upset::AnswerLost);
    client.renew().unwrap();
    assert_eq!(world.pauses(), [2]);
    client.renew().unwrap();
    assert!(client.call(&timeline()).is_ok());
}

#[test]
fn a_crowd_with_a_refused_seal_makes_one_renewal() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    world.server.forget_seals();
    let (before, start) = (world.server.count("/api/auth/tokens"), Barrier::new(24));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            let (client, start) = (world.manager.session_for(alice.id).unwrap(), &start);
            scope.spawn(move || {
                start.wait();
                assert_eq!(client.call(&timeline()).unwrap().status(), 200);
            });
        }
    });
    assert_eq!(world.server.count("/api/auth/tokens") - before, 1);
}

#[test]
fn accounts_are_called_side_by_side_each_with_its_own_seal() {
    let world = World::new();
    let accounts = ["alice.test", "bob.test", "carol.test"].map(|handle| world.sign_in(handle));
    world.server.forget_seals();
    std::thread::scope(|scope| {
        for account in &accounts {
            for _ in 0..8 {
                let client = world.manager.session_for(account.id).unwrap();
                scope.spawn(move || {
                    let answer = client.call(&timeline()).unwrap();
                    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                    assert_eq!(body["did"], account.did.as_str());
                });
            }
        }
    });
    assert_eq!(world.server.count("/api/auth/tokens"), 3 + 3, "one renewal for each account");
}

#[test]
fn inactive_accounts_are_renewed_without_becoming_live() {
    let world = World::new();
    let accounts = ["alice.test", "bob.test", "carol.test"].map(|handle| world.sign_in(handle));
    assert!(world.manager.renew_due().is_empty(), "nothing is due");
    world.calm.pass(3301);
    world.server.upset("/api/auth/tokens", Upset::Answer(401, Some("session_invalid"), json!({})));
    let outcomes = world.manager.renew_due();
    assert_eq!(outcomes.len(), 3);
    assert!(matches!(&outcomes[0].1, Err(KitError::SignInRequired { .. })), "{outcomes:?}");
    assert!(outcomes[1].1.is_ok() && outcomes[2].1.is_ok(), "one account's end is not the others'");
    assert!(world.manager.live().is_empty());
    let marks: Vec<bool> = world.manager.accounts().iter().map(|account| account.needs_sign_in.is_some()).collect();
    assert_eq!(marks, [true, false, false]);
    assert!(world.manager.renew_due().is_empty(), "they are fresh now, and the first needs its person");
    assert_eq!(world.manager.accounts()[0].id, accounts[0].id);
}

#[test]
fn the_check_notes_a_new_handle() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let checked = world.manager.session_for(alice.id).unwrap().check().unwrap();
    assert_eq!((checked.handle.as_str(), checked.display_name.as_deref()), ("new.test", Some("N")));
    assert_eq!(world.restarted().manager.accounts()[0].handle, "new.test");
}

#[test]
fn parameters_bodies_and_services_arrive_as_they_are() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    let mut call = post();
    call.service = Some("did:web:api.bsky.app#bsky_appview".into());
    client.call(&call).unwrap();
    assert_eq!(world.server.to("/xrpc/com.atproto.repo.createRecord")[0].1, r#"{"text":"hello"}"#);
    for bad in ["../api/auth/logout", "a.b", "app.bsky.feed.getTimeline?x", ""] {
        assert!(matches!(client.call(&Call::query(bad, &[])), Err(KitError::Mistake(_))), "{bad}");
    }
    call.service = Some("x\r\nCookie: y".into());
    assert!(matches!(client.call(&call), Err(KitError::Mistake(_))));
}

#[test]
fn what_the_persons_own_server_answers_is_the_answer() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    for status in [400, 401, 404, 500, 502] {
        world.server.upset(TIMELINE, Upset::Answer(status, None, json!({"error": "Theirs"})));
        assert_eq!(client.call(&timeline()).unwrap().status().as_u16(), status);
    }
    assert!(world.pauses().is_empty());
    assert!(world.manager.accounts()[0].needs_sign_in.is_none(), "their 401 is no end of our session");
}
