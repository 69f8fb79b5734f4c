//! The accounts of a device: how many it holds, by which names one is found, and what stays when it signs in another way.

use std::time::Duration;

use bowerbird_core::ports::{Cas, NewAccount};
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, Did};
use bowerbird_net::OsEntropy;
use bowerbird_testkit::actors::{App, Visitor};
use bowerbird_testkit::fault::PasswordKind;
use bowerbird_testkit::http_client::TestRequest;
use serde_json::json;

use crate::support::{House, Must as _, hidden, signed_in};

/// Puts accounts on the visitor's device, beside those that are there.
async fn put_on_device(house: &House, visitor: &Visitor, added: impl IntoIterator<Item = (String, String)>) {
    let account = AccountId::parse(&house.id_of_active(visitor).await).unwrap();
    let held = house.stores.device_sessions.list_for_account(account, house.clock.now()).await.unwrap();
    let mut device: DeviceSession = held.into_iter().next().unwrap();
    for (did, handle) in added {
        let account = NewAccount {
            id: AccountId::random(&OsEntropy),
            did: Did::parse(&did).unwrap(),
            handle,
            pds: "https://pds.example.com".to_owned(),
            now: house.clock.now(),
        };
        let account = house.stores.accounts.sign_in(account).await.unwrap().id;
        device.accounts.push(DeviceAccount { account, added_at: house.clock.now() });
    }
    assert_eq!(house.stores.device_sessions.remove(&device.id).await.unwrap(), Cas::Done);
    house.stores.device_sessions.insert(&device).await.unwrap();
    // The row is looked at again.
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test]
async fn a_device_holds_a_hundred_accounts_and_says_so() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    // Begun while there was a place, finished when there is none.
    let begun = visitor.post("/api/accounts", &json!({"handle": "bob.test"})).await.expect_status(200).json();
    let late = visitor.authorize(begun["authUrl"].as_str().unwrap()).await;
    let more =
        (1..DeviceSession::MAX_ACCOUNTS).map(|n| (format!("did:web:n{n}.example.com"), format!("n{n}.example.com")));
    put_on_device(&house, &visitor, more).await;
    house.network.clear_logs();

    let refused = visitor.post("/api/accounts", &json!({"handle": "bob.test"})).await.expect_status(409);
    assert_eq!(refused.header("bowerbird-error"), Some("too_many_accounts"));
    assert_eq!(refused.json()["message"], "This device holds 100 accounts, and that is the most");
    let csrf = hidden(&visitor.get("/").await.text(), "csrf");
    visitor.submit("/accounts/add", &[("csrf", &csrf), ("handle", "bob.test")]).await.must_be(409);
    visitor.try_start_login("bob.test").await.must_be(409);
    assert_eq!(house.sent(), Vec::<String>::new(), "nobody was asked");
    let password = house.network.pds().add_password(&bob.did, PasswordKind::App);
    let body = json!({"identifier": "bob.test", "password": password});
    let answer = visitor.post("/api/accounts/app-password", &body).await.expect_status(409);
    assert_eq!(answer.header("bowerbird-error"), Some("too_many_accounts"));

    let answer = visitor.finish_login(&late).await.expect_status(409);
    assert!(answer.text().contains("too_many_accounts"), "{}", answer.text());
    house.wait_for_grants(&bob, 0).await;
    assert_eq!(signed_in(&mut visitor).await.len(), 100);
    assert!(visitor.get("/").await.text().contains("Remove one first"));

    // One that is there can sign in again, and whoever leaves makes room.
    visitor.login("alice.test").await.must_be(303);
    visitor.delete("/api/accounts/did:web:n50.example.com").await.must_be(200);
    visitor.login("bob.test").await.must_be(303);
    assert_eq!(signed_in(&mut visitor).await.len(), 100);
    house.network.assert_clean();
}

#[tokio::test]
async fn an_account_is_found_by_its_id_its_did_or_its_handle() {
    let house = House::open().await;
    let (alice, _) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    visitor.login("bob.test").await.must_be(303);
    let id = house.id_of(&alice).await;
    for name in [id.as_str(), &alice.did, "alice.test", "Alice.TEST", "@alice.test"] {
        let found = visitor.get(&format!("/api/accounts/{name}")).await.expect_status(200).json();
        assert_eq!((&found["id"], &found["did"]), (&json!(id), &json!(alice.did)), "{name}");
        assert_eq!((&found["active"], &found["status"]), (&json!(false), &json!("ok")));
    }
    for unknown in ["carla.test", "handle.invalid", "nonsense", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "%00"] {
        let answer = visitor.get(&format!("/api/accounts/{unknown}")).await.expect_status(404);
        assert_eq!(answer.header("bowerbird-error"), Some("account_not_found"), "{unknown}");
    }
    // A handle is for looking up. What acts wants a name that cannot change hands.
    visitor.delete("/api/accounts/alice.test").await.must_be(404);
    visitor.post("/api/accounts/alice.test/activate", &json!({})).await.must_be(404);

    // Somebody took over the handle that Alice had when she signed in.
    put_on_device(&house, &visitor, [("did:web:other.example.com".to_owned(), "alice.test".to_owned())]).await;
    let ambiguous = visitor.get("/api/accounts/alice.test").await.expect_status(409);
    assert_eq!(ambiguous.header("bowerbird-error"), Some("handle_not_unique"));
    assert_eq!(visitor.get(&format!("/api/accounts/{id}")).await.expect_status(200).json()["did"], alice.did.as_str());
}

#[tokio::test]
async fn an_account_keeps_its_id_over_every_kind_of_sign_in() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let password = house.network.pds().add_password(&alice.did, PasswordKind::App);
    let mut visitor = house.visitor();
    let body = json!({"identifier": "alice.test", "password": password});
    let first = visitor.post("/api/accounts/app-password", &body).await.expect_status(200).json();
    let id = first["id"].as_str().unwrap().to_owned();
    // The upgrade to OAuth, by its link.
    let begun = visitor.get(&format!("/login/repair/{id}")).await.expect_status(302);
    let callback = visitor.authorize(begun.location()).await;
    visitor.finish_login(&callback).await.must_be(303);
    let listed = visitor.get(&format!("/api/accounts/{id}")).await.expect_status(200).json();
    assert_eq!((&listed["authType"], &listed["did"]), (&json!("oauth"), &json!(alice.did)));
    // A new handle, another sign-in, another device, and a sign-in after the last device left.
    house.network.rename_account(&alice.did, "alice-bower.test");
    visitor.login(&alice.did).await.must_be(303);
    assert_eq!(visitor.get("/api/accounts/alice-bower.test").await.expect_status(200).json()["id"], id.as_str());
    let mut other = house.visitor();
    other.login(&alice.did).await.must_be(303);
    assert_eq!(other.get("/api/accounts").await.json()["accounts"][0]["id"], id.as_str());
    visitor.post("/api/devices/sign-out", &json!({"which": "all"})).await.must_be(200);
    house.wait_for_grants(&alice, 0).await;
    visitor.login(&alice.did).await.must_be(303);
    assert_eq!(visitor.get("/api/accounts").await.json()["accounts"][0]["id"], id.as_str());
    house.network.assert_clean();
}

#[tokio::test]
async fn an_app_is_held_to_the_same_number_and_what_it_fetches_is_in_the_history() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let visitor = house.visitor_as(&alice).await;
    let bearer = format!("Bearer {}", visitor.seal().unwrap());
    let start = |path: &str, handle: &str| {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let body = json!({"handle": handle, "code_challenge": challenge, "code_challenge_method": "S256"});
        house.client().send(TestRequest::post_json(&house.url(path), &body).header("authorization", &bearer))
    };
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let exchange = async |page: &str| {
        let callback = house.visitor().authorize(page).await;
        let link = house.client().get(&callback).await.expect_status(302).location().to_owned();
        let code = link.split_once("code=").unwrap().1.to_owned();
        let body = json!({"code": code, "code_verifier": verifier});
        TestRequest::post_json(&house.url("/api/auth/tokens"), &body)
    };
    // Begun while there was a place, fetched when there is none.
    let begun = start("/api/auth/start", "bob.test").await.expect_status(200).json();
    let late = exchange(begun["authUrl"].as_str().unwrap()).await;
    let more =
        (1..DeviceSession::MAX_ACCOUNTS).map(|n| (format!("did:web:n{n}.example.com"), format!("n{n}.example.com")));
    put_on_device(&house, &visitor, more).await;
    house.network.clear_logs();
    for path in ["/api/auth/start", "/api/auth/mobile-start"] {
        let refused = start(path, "bob.test").await.expect_status(409);
        assert_eq!(refused.header("bowerbird-error"), Some("too_many_accounts"), "{path}");
    }
    assert_eq!(house.sent(), Vec::<String>::new(), "nobody was asked");
    let refused = house.client().send(late).await.expect_status(409);
    assert_eq!(refused.header("bowerbird-error"), Some("too_many_accounts"));
    house.wait_for_grants(&bob, 0).await;

    // Without that session there is room, and the sign-in is in the account's history.
    let body = json!({"handle": "bob.test", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"});
    let begun = house.client().send(TestRequest::post_json(&house.url("/api/auth/start"), &body)).await;
    let fetched = exchange(begun.expect_status(200).json()["authUrl"].as_str().unwrap()).await;
    let tokens = house.client().send(fetched).await.expect_status(200).json();
    let app = App::new(house.client().clone(), &house.base_url, tokens["accessToken"].as_str().unwrap());
    let history = app.get("/api/security-events").await.expect_status(200).json();
    assert_eq!(history["events"][0]["type"], "signed_in", "{history}");
    house.network.assert_clean();
}
