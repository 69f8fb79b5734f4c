//! Several accounts, of both kinds, on one device.

use std::sync::Arc;

use bowerbird_client::{
    AccountKind, AccountManager, Call, Did, Identity, KitError, Removal, Secret, Session, Settings, Timestamp,
};
use bytes::Bytes;
use http::{Request, Response};

use crate::world::{GET_SESSION, World, app, ports};

fn did_of(answer: &Response<Bytes>) -> String {
    serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap()["did"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_is_instant_and_one_client_is_live() {
    let world = World::new().await;
    let (alice, bob) = (world.account("alice.test"), world.account("bob.test"));
    let (a, b) = (world.sign_in("alice.test").await, world.sign_in("bob.test").await);
    assert_eq!(world.manager.active().unwrap().id, a.id, "the first one stays active");
    assert_eq!(did_of(&world.call(&a).unwrap()), alice.did);
    let sent = world.tap.sent().len();
    let client = world.manager.activate(b.id).unwrap();
    assert_eq!(world.tap.sent().len(), sent, "a switch sends nothing");
    assert_eq!(did_of(&client.call(&Call::query(GET_SESSION, &[])).unwrap()), bob.did);
    assert_eq!(world.manager.live(), [b.id]);
    assert_eq!(did_of(&world.call(&a).unwrap()), alice.did);
    let world = world.restarted();
    assert!(world.manager.live().is_empty(), "no token is read before it is needed");
    assert_eq!(world.manager.active().unwrap().id, b.id);
    assert_eq!(world.manager.find("alice.test").unwrap().id, a.id);
    assert_eq!(did_of(&world.call(&b).unwrap()), bob.did);
    // Two accounts never share a key.
    let calls = world.network.pds().server().log().at("/xrpc/com.atproto.server.getSession");
    let keys: std::collections::HashSet<_> = calls.iter().map(|call| call.dpop_thumbprint().unwrap()).collect();
    assert_eq!(keys.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_revokes_and_deletes_every_secret_of_the_account() {
    let world = World::new().await;
    let (alice, bob) = (world.account("alice.test"), world.account("bob.test"));
    let (a, b) = (world.sign_in("alice.test").await, world.sign_in("bob.test").await);
    world.call(&a).unwrap();
    assert_eq!(world.manager.remove(a.id).unwrap(), Removal::Everywhere);
    assert_eq!((world.live_grants(&alice), world.live_grants(&bob)), (0, 1));
    let names = world.store.memory.names();
    assert!(!names.iter().any(|name| name.contains(&a.id.to_string())), "{names:?}");
    assert!(matches!(world.manager.session_for(a.id), Err(KitError::UnknownAccount)));
    assert!(world.call(&b).unwrap().status().is_success());

    // Gone from the device, also when the server cannot be told.
    let sign_in = world.manager.begin_sign_in_on_device("alice.test");
    assert!(sign_in.is_ok());
    for server in world.network.servers() {
        server.go_down();
    }
    assert_eq!(world.manager.remove_all().unwrap(), [Removal::OnThisDevice]);
    assert!(
        world.store.memory.names().iter().all(|name| name == "com.app.accounts.0"),
        "{:?}",
        world.store.memory.names()
    );
    assert!(world.pauses().is_empty(), "with one try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_during_a_refresh_lets_nothing_come_back() {
    use bowerbird_testkit::fault::{Misbehave, endpoint};
    let world = World::new().await;
    let alice = world.account("alice.test");
    let account = world.sign_in("alice.test").await;
    let server = world.network.authorization_server().server().clone();
    world.network.expire_all_access_tokens();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::DelayAfter(std::time::Duration::from_millis(600)));
    let (manager, id) = (world.manager.clone(), account.id);
    let late = std::thread::spawn(move || manager.session_for(id).unwrap().call(&Call::query(GET_SESSION, &[])));
    std::thread::sleep(std::time::Duration::from_millis(200));
    world.manager.remove(account.id).unwrap();
    assert!(late.join().unwrap().is_err());
    assert!(!world.kept().contains(&"grant".to_owned()));
    assert_eq!(world.live_grants(&alice), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_renewed_in_the_background_and_a_check_tells_how_it_stands() {
    let world = World::new().await;
    let (alice, _) = (world.account("alice.test"), world.account("bob.test"));
    let (a, b) = (world.sign_in("alice.test").await, world.sign_in("bob.test").await);
    assert!(world.manager.renew_due().is_empty(), "nothing is due");
    world.calm.pass(3000);
    let outcomes = world.manager.renew_due();
    assert_eq!(
        outcomes.iter().map(|(id, outcome)| (*id, outcome.is_ok())).collect::<Vec<_>>(),
        [(a.id, true), (b.id, true)]
    );
    assert!(world.manager.live().is_empty() && world.shown() == 2);
    world.manager.session_for(a.id).unwrap().renew().unwrap();
    assert_eq!(world.shown(), 3);

    world.network.rename_account(&alice.did, "new.test");
    let checked = world.manager.session_for(a.id).unwrap().check().unwrap();
    assert_eq!((checked.handle.as_str(), checked.expires_at), ("new.test", a.session_ends_at));
    assert_eq!(world.manager.find("new.test").unwrap().id, a.id);
    world.network.assert_clean();
}

/// Both ways on one device: the same person changes from the one to the other, and back.
#[tokio::test(flavor = "multi_thread")]
async fn beside_accounts_of_a_server() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let log: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
    let (tap, seen) = (world.tap.clone(), log.clone());
    let transport = move |request: Request<Bytes>| {
        if request.uri().host() == Some("auth.test") {
            seen.lock().push(request.uri().path().to_owned());
            return Ok(Response::new(Bytes::from_static(br#"{"success":true,"did":"did:plc:by-the-server"}"#)));
        }
        bowerbird_client::Transport::send(&tap, request)
    };
    let settings = Settings::new("https://auth.test", "app://auth-callback", "com.app").unwrap();
    let settings = settings.with_on_device(app(&world.network));
    let mut ports = ports(&world.tap, &world.store, &world.calm);
    ports.transport = Arc::new(transport);
    let manager = AccountManager::open(settings, ports).unwrap();
    let seal = |token: &str| Session {
        access_token: Secret::new(token),
        refresh_token: None,
        issued_at: Timestamp::from_seconds(1),
        expires_at: None,
    };
    let identity = |did: &str| Identity { did: Did::parse(did).unwrap(), handle: "x.test".into(), pds: None };
    let carla = manager.register(identity("did:plc:cccccccccccccccccccccccc"), &seal("seal-carla")).unwrap();
    let first = manager.register(identity(&alice.did), &seal("seal-alice")).unwrap();
    assert_eq!((carla.kind, first.session_ends_at), (AccountKind::Server, None));

    let sign_in = manager.begin_sign_in_on_device("alice.test").unwrap();
    let callback = crate::world::approve(&sign_in.auth_url).await;
    let second = manager.complete_sign_in_on_device(&callback).unwrap();
    assert_eq!((second.id, second.kind), (first.id, AccountKind::OnDevice), "the same account, kept by the device now");
    assert_eq!(*log.lock(), ["/api/auth/logout"], "its seal was ended");
    let call = |id| manager.session_for(id).unwrap().call(&Call::query(GET_SESSION, &[])).unwrap();
    assert_eq!(did_of(&call(second.id)), alice.did, "by its own server");
    assert_eq!(did_of(&call(carla.id)), "did:plc:by-the-server");
    let names = world.store.memory.names();
    assert!(!names.contains(&format!("com.app.account.{}.session", second.id)), "{names:?}");

    assert!(!manager.update(second.id, &seal("seal-late")).unwrap(), "it has no session any more");
    assert!(!world.store.memory.names().contains(&format!("com.app.account.{}.session", second.id)));

    let third = manager.register(identity(&alice.did), &seal("seal-again")).unwrap();
    assert_eq!((third.id, third.kind, third.session_ends_at), (first.id, AccountKind::Server, None));
    assert_eq!(world.live_grants(&alice), 0, "the grant was ended");
    assert!(!world.kept().contains(&"grant".to_owned()));
    assert_eq!(did_of(&call(third.id)), "did:plc:by-the-server");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configuration_nothing_is_sent() {
    let world = World::new().await;
    let settings = Settings::without_server("com.other").unwrap();
    let manager = AccountManager::open(settings, ports(&world.tap, &world.store, &world.calm)).unwrap();
    assert!(matches!(manager.begin_sign_in_on_device("alice.test"), Err(KitError::Mistake(_))));
    assert!(matches!(manager.begin_sign_in("alice.test"), Err(KitError::Mistake(_))));
    assert!(world.tap.sent().is_empty());
}
