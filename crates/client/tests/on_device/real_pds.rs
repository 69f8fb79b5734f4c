//! The whole life of a sign-in on the real PDS and PLC, with the person's browser. Skipped where the network is not installed.

use std::sync::Arc;

use bowerbird_client::{
    AccountManager, Call, Device, FileKey, FileStore, HttpTransport, KitError, OnDevice, Ports, Removal, Settings,
};
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork, ServerFault};
use serde_json::{Value, json};

use crate::world::{GET_SESSION, REDIRECT, SCOPE};

fn open(network: &RealNetwork, folder: &std::path::Path) -> AccountManager {
    let hosts = network.egress_allow();
    let hosts: Vec<&str> = hosts.split(',').collect();
    let app = OnDevice::for_development(REDIRECT, SCOPE).unwrap().with_local_servers(&hosts).unwrap();
    let app = app.with_plc_directory(network.plc()).unwrap().with_handle_resolver(network.pds()).unwrap();
    let settings = Settings::without_server("com.example.app").unwrap().with_on_device(app);
    let store = FileStore::open(folder.join("kit.bin"), FileKey::new(&[7; 32]).unwrap(), Arc::new(Device)).unwrap();
    AccountManager::open(settings, Ports::new(store, HttpTransport::default())).unwrap()
}

async fn sign_in(network: &RealNetwork, manager: &AccountManager, account: &RealAccount) -> bowerbird_client::Account {
    let begun = manager.begin_sign_in_on_device(&account.handle).unwrap();
    let callback = network.browser().approve(&begun.auth_url, account).await;
    let signed_in = manager.complete_sign_in_on_device(&callback).unwrap();
    assert_eq!((signed_in.did.as_str(), signed_in.handle.as_str()), (account.did.as_str(), account.handle.as_str()));
    let again = manager.complete_sign_in_on_device(&callback);
    assert!(matches!(again, Err(KitError::Callback(_))), "a callback works once");
    signed_in
}

fn get_session(manager: &AccountManager, account: &bowerbird_client::Account) -> Result<(u16, Value), KitError> {
    let answer = manager.session_for(account.id).unwrap().call(&Call::query(GET_SESSION, &[]))?;
    Ok((answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_sign_in_calls_refresh_restart_and_sign_out() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let manager = open(&network, folder.path());
    let alice = network.account("alice.test");

    // The app is stopped while the person is in the browser.
    let begun = manager.begin_sign_in_on_device("alice.test").unwrap();
    let callback = network.browser().approve(&begun.auth_url, alice).await;
    drop(manager);
    let manager = open(&network, folder.path());
    let account = manager.complete_sign_in_on_device(&callback).unwrap();
    assert_eq!(account.did.as_str(), alice.did);
    assert_eq!(network.await_grants(&alice.did, 1).await.len(), 1);

    let (status, body) = get_session(&manager, &account).unwrap();
    assert_eq!((status, body["did"].as_str()), (200, Some(alice.did.as_str())));
    let record = json!({"$type": "app.bsky.feed.post", "text": "from the device", "createdAt": "2026-01-01T00:00:00Z"});
    let post = json!({"repo": alice.did, "collection": "app.bsky.feed.post", "record": record});
    let client = manager.session_for(account.id).unwrap();
    let made = client.call(&Call::procedure("com.atproto.repo.createRecord", &post)).unwrap();
    assert_eq!(made.status(), 200, "{:?}", made.body());

    // Every nonce becomes invalid at once.
    network.renew_nonces().await;
    assert_eq!(get_session(&manager, &account).unwrap().0, 200);

    // A refresh, with twenty callers at it.
    network.clear_log().await;
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || client.renew())
        })
        .collect();
    for caller in callers {
        caller.join().unwrap().unwrap();
    }
    let asked = network.statuses(endpoint::TOKEN, 1).await;
    assert!(asked.iter().all(|status| *status == 200), "{asked:?}");
    assert_eq!(get_session(&manager, &account).unwrap().0, 200);

    // The access token ends while the app is not running.
    drop((client, manager));
    network.set_access_millis(1_000).await;
    let manager = open(&network, folder.path());
    manager.session_for(account.id).unwrap().renew().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    network.set_access_millis(3_600_000).await;
    drop(manager);
    let manager = open(&network, folder.path());
    network.clear_log().await;
    assert_eq!(get_session(&manager, &account).unwrap().0, 200);
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [200], "refreshed once, before the call");
    let checked = manager.session_for(account.id).unwrap().check().unwrap();
    assert_eq!((checked.handle.as_str(), checked.expires_at), ("alice.test", account.session_ends_at));

    // The account goes, and its grant with it.
    assert_eq!(manager.remove(account.id).unwrap(), Removal::Everywhere);
    network.await_grants(&alice.did, 0).await;
    assert!(network.statuses("/oauth/revoke", 1).await.ends_with(&[200]));
    assert!(manager.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_lost_answers_and_a_person_who_says_no() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let manager = open(&network, folder.path());
    let (alice, bob) = (network.account("alice.test"), network.account("bob.test"));
    let begun = manager.begin_sign_in_on_device("alice.test").unwrap();
    let denied = network.browser().deny(&begun.auth_url, alice).await;
    let denied = manager.complete_sign_in_on_device(&denied).unwrap_err();
    assert!(matches!(denied, KitError::Callback(_)), "{denied:?}");

    // Two accounts; one of them is withdrawn on the server's own pages, and the other one does not notice.
    let (a, b) = (sign_in(&network, &manager, alice).await, sign_in(&network, &manager, bob).await);
    network.revoke_all(&alice.did).await;
    let gone = get_session(&manager, &a).unwrap_err();
    assert!(matches!(&gone, KitError::SignInRequired { reason, .. } if reason == "revoked"), "{gone:?}");
    assert_eq!(get_session(&manager, &b).unwrap().0, 200);
    assert_eq!(manager.accounts().iter().filter(|account| account.needs_sign_in.is_some()).count(), 1);
    let again = sign_in(&network, &manager, alice).await;
    assert_eq!((again.id, get_session(&manager, &again).unwrap().0), (a.id, 200));

    // A connection that ends before the server has looked: the call is refused for a while, and nothing is lost.
    network.fault(endpoint::TOKEN, ServerFault::Reset, 1).await;
    let doubt = manager.session_for(b.id).unwrap().renew().unwrap_err();
    assert!(doubt.is_temporary(), "{doubt:?}");
    assert_eq!(get_session(&manager, &b).unwrap().0, 200, "the access token of before works");
    let early = manager.session_for(b.id).unwrap().renew().unwrap_err();
    assert!(early.is_temporary(), "not sent again at once: {early:?}");
    assert_eq!(network.await_grants(&bob.did, 1).await.len(), 1);
}
