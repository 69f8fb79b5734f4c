//! Registering, finding, switching, updating and removing (rows D-003 to D-012 on the device).

use bowerbird_client::{AccountId, Call, Did, Identity, KitError, Removal, Secret, Session, Timestamp};

use crate::world::{Upset, World, did};

fn session(token: &str) -> Session {
    Session {
        access_token: Secret::new(token),
        refresh_token: None,
        issued_at: Timestamp::from_seconds(1_000_000),
        expires_at: None,
    }
}

fn whoami(world: &World, id: AccountId) -> String {
    let answer =
        world.manager.session_for(id).unwrap().call(&Call::query("com.atproto.server.getSession", &[])).unwrap();
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    body["did"].as_str().unwrap().to_owned()
}

#[test]
fn every_account_has_a_space_of_its_own() {
    let world = World::new();
    let (alice, bob) = (world.sign_in("alice.test"), world.sign_in("bob.test"));
    let expected: Vec<String> = {
        let of = |id| [format!("com.app.account.{id}.profile"), format!("com.app.account.{id}.session")];
        let mut names = [of(alice.id), of(bob.id)].concat();
        names.extend(["com.app.accounts.0".to_owned(), "com.app.active".to_owned()]);
        names.sort();
        names
    };
    assert_eq!(world.store.memory.names(), expected);
}

#[test]
fn switching_is_instant_and_one_client_is_live() {
    let world = World::new();
    let (alice, bob) = (world.sign_in("alice.test"), world.sign_in("bob.test"));
    assert_eq!(world.manager.active().unwrap().id, alice.id, "the first one stays active");
    assert_eq!(whoami(&world, alice.id), did("alice.test"));
    let sent = world.server.to("/xrpc/com.atproto.server.getSession").len();
    world.manager.activate(bob.id).unwrap();
    assert_eq!(world.server.to("/xrpc/com.atproto.server.getSession").len(), sent, "a switch sends nothing");
    assert_eq!(world.manager.active().unwrap().id, bob.id);
    assert_eq!(whoami(&world, bob.id), did("bob.test"));
    assert_eq!(world.manager.live(), [bob.id], "the other one is released");
    assert_eq!(whoami(&world, alice.id), did("alice.test"), "and reads its seal again when it is used");
    assert_eq!(world.manager.live(), [alice.id]);
}

#[test]
fn accounts_survive_a_restart() {
    let world = World::new();
    let (_, bob) = (world.sign_in("alice.test"), world.sign_in("bob.test"));
    world.manager.activate(bob.id).unwrap();
    let before = world.manager.accounts();
    let world = world.restarted();
    assert_eq!(world.manager.accounts(), before);
    assert_eq!(world.manager.active().unwrap().id, bob.id);
    assert!(world.manager.live().is_empty(), "no seal is read before it is needed");
    assert_eq!(whoami(&world, bob.id), did("bob.test"));
}

#[test]
fn a_new_sign_in_keeps_the_id() {
    let world = World::new();
    let first = world.sign_in("alice.test");
    world.server.forget_seals();
    world.calm.pass(100);
    let again = world.sign_in("alice.test");
    assert_eq!((again.id, again.added_at), (first.id, first.added_at));
    assert_eq!(world.manager.accounts().len(), 1);
    assert_eq!(whoami(&world, first.id), did("alice.test"), "with the new seal");
}

#[test]
fn found_by_handle_or_did() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    for who in ["alice.test", "@Alice.Test ", alice.did.as_str()] {
        assert_eq!(world.manager.find(who).map(|found| found.id), Some(alice.id), "{who}");
    }
    assert!(world.manager.find("bob.test").is_none() && world.manager.find("").is_none());
}

#[test]
fn removing_one_leaves_nothing_of_it_and_all_of_the_others() {
    let world = World::new();
    let (alice, bob) = (world.sign_in("alice.test"), world.sign_in("bob.test"));
    assert_eq!(world.manager.remove(alice.id).unwrap(), Removal::Everywhere);
    assert_eq!(world.server.seals(), 1, "the server ended the session");
    assert!(!world.manager.contains(alice.id));
    assert_eq!(world.manager.active().unwrap().id, bob.id, "the next one is active");
    assert!(!world.store.memory.names().iter().any(|name| name.contains(&alice.id.to_string())));
    assert_eq!(whoami(&world, bob.id), did("bob.test"));
    assert!(matches!(world.manager.session_for(alice.id).err(), Some(KitError::UnknownAccount)));
    assert!(matches!(world.manager.remove(alice.id), Err(KitError::UnknownAccount)));
}

#[test]
fn removing_works_without_the_network_and_says_so() {
    let world = World::new();
    let alice = world.sign_in("alice.test");
    world.server.upset("/api/auth/logout", Upset::Unreachable);
    assert_eq!(world.manager.remove(alice.id).unwrap(), Removal::OnThisDevice);
    assert!(world.pauses().is_empty(), "a person who signs out does not wait");
    assert!(world.store.memory.names().is_empty() || world.store.memory.names() == ["com.app.accounts.0"]);
    assert!(world.manager.active().is_none());
}

#[test]
fn an_ended_seal_is_renewed_once_to_sign_out() {
    let world = World::new();
    let (alice, bob) = (world.sign_in("alice.test"), world.sign_in("bob.test"));
    world.server.forget_seals();
    let exchanges = world.server.count("/api/auth/tokens");
    assert_eq!(world.manager.remove(alice.id).unwrap(), Removal::Everywhere);
    assert_eq!((world.server.count("/api/auth/tokens") - exchanges, world.server.count("/api/auth/logout")), (1, 2));
    assert_eq!(world.server.seals(), 0);
    world.server.upset("/api/auth/tokens", Upset::Unreachable);
    assert_eq!(world.manager.remove(bob.id).unwrap(), Removal::OnThisDevice, "a refused seal alone is no sign-out");
    let carol = world.sign_in("carol.test");
    world.server.end_sessions();
    assert_eq!(world.manager.remove(carol.id).unwrap(), Removal::Everywhere, "it had ended there");
}

#[test]
fn a_new_sign_in_ends_the_session_of_before() {
    let world = World::new();
    let first = world.sign_in("alice.test");
    let again = world.sign_in("alice.test");
    assert_eq!((again.id, world.server.seals(), world.server.count("/api/auth/logout")), (first.id, 1, 1));
    assert_eq!(whoami(&world, first.id), did("alice.test"), "with the new one");
    world.server.upset("/api/auth/logout", Upset::Unreachable);
    assert_eq!(world.sign_in("alice.test").id, first.id, "the sign-in stands, whatever becomes of the old session");
}

#[test]
fn removing_all_leaves_an_empty_store() {
    let world = World::new();
    for handle in ["alice.test", "bob.test", "carol.test"] {
        world.sign_in(handle);
    }
    world.manager.begin_sign_in("dan.test").unwrap();
    assert_eq!(world.manager.remove_all().unwrap(), [Removal::Everywhere; 3]);
    assert!(world.manager.accounts().is_empty());
    assert_eq!(world.store.memory.names(), Vec::<String>::new());
    assert_eq!(world.server.seals(), 0);
}

#[test]
fn registering_and_updating_by_hand() {
    let world = World::new();
    let identity =
        |handle: &str| Identity { did: Did::parse(&did("alice.test")).unwrap(), handle: handle.to_owned(), pds: None };
    let alice = world.manager.register(identity("alice.test"), &session("one")).unwrap();
    let renamed = world.manager.register(identity("alice.example"), &session("two")).unwrap();
    assert_eq!((renamed.id, renamed.handle.as_str()), (alice.id, "alice.example"));
    assert!(world.manager.update(alice.id, &session("three")).unwrap());
    let stranger = AccountId::parse("c0ffee00-0000-4000-8000-000000000001").unwrap();
    assert!(!world.manager.update(stranger, &session("x")).unwrap());
    assert!(!world.store.memory.names().iter().any(|name| name.contains("c0ffee00")), "nothing is kept of a stranger");
    let client = world.manager.session_for(alice.id).unwrap();
    assert!(client.call(&Call::query("a.b.c", &[])).is_err());
    assert_eq!(world.server.to("/xrpc/a.b.c")[0].0, "three");
}

#[test]
fn a_hundred_accounts_and_the_pages_of_the_index() {
    let world = World::new();
    let register = |number: usize| {
        let handle = format!("user{number}.test");
        let did = Did::parse(&format!("did:web:{handle}")).unwrap();
        world.manager.register(Identity { did, handle, pds: None }, &session(&format!("seal{number}"))).unwrap().id
    };
    let ids: Vec<AccountId> = (0..101).map(register).collect();
    assert!(world.store.memory.names().contains(&"com.app.accounts.2".to_owned()));
    world.manager.remove(ids[0]).unwrap();
    world.manager.remove(ids[57]).unwrap();
    let expected: Vec<AccountId> = ids.iter().copied().filter(|id| *id != ids[0] && *id != ids[57]).collect();
    let listed = |world: &World| world.manager.accounts().iter().map(|account| account.id).collect::<Vec<_>>();
    assert_eq!(listed(&world), expected);
    let world = world.restarted();
    assert_eq!(listed(&world), expected);
    assert!(!world.store.memory.names().contains(&"com.app.accounts.2".to_owned()), "the empty page is gone");
}

#[test]
fn an_account_that_this_build_cannot_call_is_listed_and_removed_with_all_of_its_secrets() {
    use bowerbird_client::{AccountKind, SecureStore};
    let world = World::new();
    let alice = world.sign_in("alice.test");
    // As a build with on-device sign-in leaves it.
    let (profile, grant) =
        (format!("com.app.account.{}.profile", alice.id), format!("com.app.account.{}.grant", alice.id));
    let text = format!(
        r#"{{"did":"{}","handle":"alice.test","kind":"onDevice","addedAt":1,"sessionEndsAt":9}}"#,
        did("alice.test")
    );
    world.store.memory.save(&profile, &Secret::new(text)).unwrap();
    world.store.memory.save(&grant, &Secret::new("{}")).unwrap();
    let world = world.restarted();
    let listed = &world.manager.accounts()[0];
    assert_eq!((listed.kind, listed.session_ends_at), (AccountKind::OnDevice, Some(Timestamp::from_millis(9))));
    let calls = world.server.count("/xrpc/a.b.c");
    assert!(world.manager.session_for(alice.id).unwrap().call(&Call::query("a.b.c", &[])).is_err());
    assert_eq!(world.server.count("/xrpc/a.b.c"), calls, "its seal of before is not used");
    world.manager.remove(alice.id).unwrap();
    assert!(!world.store.memory.names().iter().any(|name| name.contains(&alice.id.to_string())));
}
