//! Recovery as it is documented (rows ), and an app that is killed at any write.

use bowerbird_client::{Call, KitError, StoreFault};
use serde_json::json;

use crate::world::{REDIRECT, Upset, World};

const QUERY: &str = "/xrpc/a.b.query";
const PROCEDURE: &str = "/xrpc/a.b.procedure";

fn query() -> Call {
    Call::query("a.b.query", &[])
}

fn procedure() -> Call {
    Call::procedure("a.b.procedure", &json!({}))
}

fn many(world: &World, path: &str, upset: &Upset) {
    for _ in 0..9 {
        world.server.upset(path, upset.clone());
    }
}

#[test]
fn a_network_that_is_gone_is_tried_three_times_more_and_then_told() {
    let world = World::new();
    let client = world.manager.session_for(world.sign_in("alice.test").id).unwrap();
    many(&world, QUERY, &Upset::Unreachable);
    let error = client.call(&query()).unwrap_err();
    assert!(matches!(error, KitError::Offline(_)) && error.is_temporary());
    assert_eq!(error.to_string(), "the server cannot be reached; check the connection, then try again");
    assert_eq!((world.pauses(), world.server.count(QUERY)), (vec![2, 4, 8], 4));
    assert_eq!(world.manager.accounts()[0].needs_sign_in, None, "no network is no sign-out");
}

#[test]
fn a_procedure_is_repeated_only_if_it_never_arrived() {
    let world = World::new();
    let client = world.manager.session_for(world.sign_in("alice.test").id).unwrap();
    world.server.upset(PROCEDURE, Upset::Unreachable);
    assert!(client.call(&procedure()).is_ok());
    assert_eq!((world.pauses(), world.server.count(PROCEDURE)), (vec![2], 2));
    world.server.upset(PROCEDURE, Upset::AnswerLost);
    assert!(matches!(client.call(&procedure()), Err(KitError::Offline(_))));
    world.server.upset(PROCEDURE, Upset::Status(503, "try_later"));
    assert!(matches!(client.call(&procedure()), Err(KitError::Server(_))));
    assert_eq!((world.pauses(), world.server.count(PROCEDURE)), (vec![], 4));
    world.server.upset(QUERY, Upset::AnswerLost);
    assert!(client.call(&query()).is_ok(), "a query may arrive twice");
}

#[test]
fn a_refused_session_is_cleared_and_the_person_asked() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    world.server.end_sessions();
    let asked = |error: KitError| match error {
        KitError::SignInRequired { account, reason, .. } => (account, reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(client.call(&query()).unwrap_err()), (alice.id, "session_invalid".to_owned()));
    assert!(!world.store.memory.names().iter().any(|name| name.ends_with(".session")), "cleared");
    assert!(world.manager.live().is_empty());
    assert_eq!(world.manager.accounts()[0].needs_sign_in.as_deref(), Some("session_invalid"), "and still listed");
    let sent = world.server.count(QUERY);
    let world = world.restarted();
    let client = world.manager.session_for(alice.id).unwrap();
    assert_eq!(asked(client.call(&query()).unwrap_err()).1, "session_invalid");
    assert_eq!(world.server.count(QUERY), sent, "nothing is sent without a seal");
    let again = world.sign_in("alice.test");
    assert_eq!((again.id, again.needs_sign_in), (alice.id, None));
    assert!(client.call(&query()).is_ok());
}

#[test]
fn a_server_that_fails_to_renew_is_tried_twice_more_and_nothing_is_cleared() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    for _ in 0..3 {
        world.server.upset("/api/auth/tokens", Upset::Status(500, "store_unavailable"));
    }
    let error = client.renew().unwrap_err();
    assert!(matches!(&error, KitError::SignInRequired { reason, .. } if reason == "refresh_failed"), "{error:?}");
    assert_eq!((world.pauses(), world.server.count("/api/auth/tokens")), (vec![2, 4], 1 + 3));
    assert!(client.renew().is_ok(), "the server is back before the person has done anything");
    assert_eq!(world.manager.accounts()[0].needs_sign_in, None);
}

#[test]
fn a_session_that_is_due_but_good_is_used_when_renewing_fails() {
    let world = World::new();
    let client = world.manager.session_for(world.sign_in("alice.test").id).unwrap();
    world.calm.pass(3400);
    many(&world, "/api/auth/tokens", &Upset::Unreachable);
    assert!(client.call(&query()).is_ok());
    assert_eq!(world.server.count(QUERY), 1);
}

#[test]
fn an_access_that_has_ended_asks_for_exactly_that_account() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    let body = json!({"error": "needs_reauth", "message": "x", "reason": "revoked", "repairUrl": "https://auth.test/login/repair/1"});
    world.server.upset(QUERY, Upset::Answer(401, Some("needs_reauth"), body));
    let error = client.call(&query()).unwrap_err();
    let KitError::SignInRequired { account, reason, repair_url } = error else { panic!("{error:?}") };
    assert_eq!((account, reason.as_str()), (alice.id, "revoked"));
    assert_eq!(repair_url.as_deref(), Some("https://auth.test/login/repair/1"));
    assert_eq!(world.manager.accounts()[0].needs_sign_in.as_deref(), Some("revoked"));
    assert_eq!(world.server.count("/api/auth/tokens"), 1, "the seal is good: there is nothing to renew");
    assert!(client.call(&query()).is_ok(), "repaired in a browser");
    assert_eq!(world.manager.accounts()[0].needs_sign_in, None);
}

#[test]
fn a_seal_without_refresh_token_renews_itself() {
    use bowerbird_client::{Did, Identity, Secret, Session, Timestamp};
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let seal = Secret::new("seal2");
    let session = Session {
        access_token: seal,
        refresh_token: None,
        issued_at: Timestamp::from_seconds(1_000_000),
        expires_at: Some(Timestamp::from_seconds(1_000_100)),
    };
    let identity = Identity { did: Did::parse(alice.did.as_str()).unwrap(), handle: "alice.test".into(), pds: None };
    world.manager.register(identity, &session).unwrap();
    world.calm.pass(90);
    let client = world.manager.session_for(alice.id).unwrap();
    client.call(&query()).unwrap();
    assert_eq!(world.server.to("/mobile/refresh-token")[0].0, "seal2");
    assert_ne!(world.server.to(QUERY)[0].0, "seal2");
}

#[test]
fn no_secret_is_in_an_error_or_in_debug() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    let client = world.manager.session_for(alice.id).unwrap();
    many(&world, QUERY, &Upset::AnswerLost);
    let text = format!("{:?} {:?}", client.call(&query()).unwrap_err(), world.manager.accounts());
    assert!(!text.contains("seal") && !text.contains("refresh1"), "{text}");
}

/// Whatever write the app is killed before: no secret is left that no account of the list belongs to, every account that
/// is listed has a profile, and the app can go on.
#[test]
fn an_app_that_is_killed_between_two_writes_leaves_no_secret_behind() {
    for after in 0..20 {
        let world = World::new();
        world.sign_in("alice.test");
        *world.store.writes_left.lock() = Some(after);
        let story = || -> Result<(), KitError> {
            world.manager.begin_sign_in("bob.test")?;
            let code = world.server.allow();
            let bob = world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}"))?;
            world.manager.activate(bob.id)?;
            world.manager.session_for(bob.id)?.renew()?;
            world.manager.remove(bob.id)?;
            Ok(())
        };
        let stopped = story();
        assert!(
            !matches!(stopped, Err(ref error) if !matches!(error, KitError::Store(StoreFault::Unavailable(_)))),
            "{stopped:?}"
        );
        let world = world.restarted();
        let listed: Vec<String> = world.manager.accounts().iter().map(|account| account.id.to_string()).collect();
        for name in world.store.memory.names().iter().filter(|name| name.ends_with(".session")) {
            assert!(
                listed.iter().any(|id| name.contains(id.as_str())),
                "after {after} writes: {name} belongs to nobody"
            );
        }
        assert!(world.manager.find("alice.test").is_some(), "after {after} writes");
        let bob = world.sign_in("bob.test");
        assert!(world.manager.session_for(bob.id).unwrap().call(&query()).is_ok(), "after {after} writes");
        world.manager.remove_all().unwrap();
        assert_eq!(world.store.memory.names(), Vec::<String>::new(), "after {after} writes");
        if stopped.is_ok() {
            assert!(after > 8, "the story has many writes");
            return;
        }
    }
    panic!("the story never ended");
}

/// The same where the list has several pages, and a removal moves accounts from page to page.
#[test]
fn a_removal_that_is_cut_off_loses_no_other_account() {
    use bowerbird_client::{Did, Identity, Secret, Session, Timestamp};
    let mut stops = 0;
    for after in 0.. {
        let world = World::new();
        let register = |world: &World, number: usize| {
            let handle = format!("user{number}.test");
            let did = Did::parse(&format!("did:web:{handle}")).unwrap();
            let access_token = Secret::new(format!("seal{number}"));
            let issued_at = Timestamp::from_seconds(1_000_000);
            let session = Session { access_token, refresh_token: None, issued_at, expires_at: None };
            world.manager.register(Identity { did, handle, pds: None }, &session).unwrap().id
        };
        let ids: Vec<_> = (0..101).map(|number| register(&world, number)).collect();
        *world.store.writes_left.lock() = Some(after);
        let removed = world.manager.remove(ids[3]);
        let world = world.restarted();
        // A change of the list after that, and another start.
        let last = register(&world, 999);
        let world = world.restarted();
        let listed: Vec<_> = world.manager.accounts().iter().map(|account| account.id).collect();
        let others = ids.iter().filter(|id| **id != ids[3]).chain([&last]);
        for id in others {
            assert_eq!(listed.iter().filter(|listed| *listed == id).count(), 1, "after {after} writes");
        }
        if removed.is_ok() {
            break;
        }
        stops += 1;
    }
    assert_eq!(
        stops, 6,
        "before the secrets of both kinds, the profile, two pages, and the third, which is empty then"
    );
}
