//! An account with an app password at a real PDS, beside one with OAuth on the same device.

#![expect(clippy::unwrap_used, reason = "tests")]

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::{TestClient, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork, ServerFault};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use bowerbird_testkit::sweep::Sweep;
use serde_json::{Value, json};

const ROUTE: &str = "/api/accounts/app-password";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
const CREATE_RECORD: &str = "/xrpc/com.atproto.repo.createRecord";
const CREATE_SESSION: &str = "/xrpc/com.atproto.server.createSession";
const REFRESH_SESSION: &str = "/xrpc/com.atproto.server.refreshSession";
const DELETE_SESSION: &str = "/xrpc/com.atproto.server.deleteSession";

async fn open() -> Option<(RealNetwork, BowerbirdProcess)> {
    if !RealNetwork::available() {
        return None;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let options = options.env("BOWERBIRD_APP_PASSWORDS", "true").env("BOWERBIRD_LOG", "trace");
    let server = BowerbirdProcess::start(options).await;
    Some((network, server))
}

/// Signs in with an app password; the account as it is listed.
async fn sign_in(visitor: &mut Visitor, account: &RealAccount) -> Value {
    let body = json!({"identifier": account.handle, "password": account.app_password});
    visitor.post(ROUTE, &body).await.expect_status(200).json()
}

/// As which account a call is answered.
async fn whoami(server: &BowerbirdProcess, visitor: &Visitor, account: &RealAccount) -> u16 {
    let app = server.app(&visitor.seal().unwrap());
    let answer = app.send(TestRequest::get(&app.url(GET_SESSION)).header("bowerbird-account", &account.did)).await;
    if answer.status == 200 {
        assert_eq!(answer.json()["did"], account.did.as_str());
    }
    answer.status
}

fn assert_nothing_leaked(server: &BowerbirdProcess, passwords: &[&str]) {
    Sweep::new(passwords.iter().map(|password| password.as_bytes().to_vec()))
        .bytes("stderr", &server.stderr().bytes())
        .bytes("stdout", &server.stdout().bytes())
        .folder(&server.data_dir())
        .assert_clean();
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

#[tokio::test]
async fn real_app_password_from_the_sign_in_to_the_sign_out_beside_oauth() {
    let Some((network, server)) = open().await else { return };
    let (alice, bob) = (network.account("alice.test").clone(), network.account("bob.test").clone());
    let mut visitor = server.visitor();
    let _home = visitor.login_at_real(&network.browser(), &alice).await.expect_status(303);
    network.clear_log().await;

    // The sign-in adds the account to the device.
    let listed = sign_in(&mut visitor, &bob).await;
    assert_eq!((&listed["did"], &listed["authType"]), (&json!(bob.did), &json!("app_password")), "{listed}");
    assert_eq!((&listed["active"], &listed["scope"]), (&json!(true), &json!("com.atproto.appPass")), "{listed}");
    assert_eq!(network.statuses(CREATE_SESSION, 1).await, [200]);
    let accounts = visitor.get("/api/accounts").await.expect_status(200).json();
    let kinds: Vec<_> = accounts["accounts"].as_array().unwrap().iter().map(|one| one["authType"].clone()).collect();
    assert_eq!(kinds, ["oauth", "app_password"]);
    assert!(accounts["accounts"][0].get("upgradeUrl").is_none(), "{accounts}");

    // Calls, as each of them.
    assert_eq!(whoami(&server, &visitor, &bob).await, 200);
    assert_eq!(whoami(&server, &visitor, &alice).await, 200);
    let record =
        json!({"$type": "app.bsky.feed.post", "text": "with a password", "createdAt": "2026-11-21T12:00:00.000Z"});
    let post = json!({"repo": bob.did, "collection": "app.bsky.feed.post", "record": record});
    let created = visitor.post(CREATE_RECORD, &post).await.expect_status(200).json();
    let stored = network.record(created["uri"].as_str().unwrap()).await.expect_status(200).json();
    assert_eq!((&stored["value"]["text"], &stored["cid"]), (&json!("with a password"), &created["cid"]));

    // The server says that the access token has ended: it is renewed, and the caller does not notice.
    network.clear_log().await;
    network.fault(GET_SESSION, ServerFault::Refuse(400, "ExpiredToken"), 1).await;
    assert_eq!(whoami(&server, &visitor, &bob).await, 200);
    assert_eq!(network.statuses(GET_SESSION, 2).await, [400, 200]);
    assert_eq!(network.statuses(REFRESH_SESSION, 1).await, [200]);
    let health = visitor.get("/api/tokens/health").await.expect_status(200).json()[0].clone();
    assert_eq!((&health["authType"], &health["isValid"]), (&json!("app_password"), &json!(true)), "{health}");
    assert!(health["lastRefreshed"].is_string(), "{health}");

    // Switching, and the other account is as it was.
    let _switched = visitor.post(&format!("/api/accounts/{}/activate", alice.did), &json!({})).await.expect_status(200);
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());

    // Signing out ends the session at the PDS too.
    network.clear_log().await;
    let seal = visitor.seal().unwrap();
    let _signed_out = visitor.post("/api/auth/logout", &json!({})).await.expect_status(200);
    assert_eq!(network.statuses(DELETE_SESSION, 1).await, [200]);
    network.await_grants(&alice.did, 0).await;
    network.clear_log().await;
    assert_eq!(server.app(&seal).get(GET_SESSION).await.status, 401);
    assert!(network.log("/").await.is_empty(), "a dead session calls nobody");
    assert_nothing_leaked(&server, &[&bob.app_password]);
}

#[tokio::test]
async fn real_app_password_row_76_a_main_password_is_refused_and_its_session_ended() {
    let Some((network, server)) = open().await else { return };
    let bob = network.account("bob.test").clone();
    network.clear_log().await;
    let mut visitor = server.visitor();
    let main = json!({"identifier": bob.handle, "password": bob.password});
    let refused = visitor.post(ROUTE, &main).await.expect_status(401).json();
    assert_eq!(refused["error"], "app_password_required", "{refused}");
    assert_eq!(network.statuses(CREATE_SESSION, 1).await, [200], "it is the right one");
    assert_eq!(network.statuses(DELETE_SESSION, 1).await, [200], "and its session is over");
    assert_eq!(visitor.seal(), None);
    let wrong = json!({"identifier": bob.handle, "password": "wrong-password"});
    assert_eq!(visitor.post(ROUTE, &wrong).await.expect_status(401).json()["error"], "app_password_invalid");
    let output = server.command(&["accounts", "list", "--json"]);
    let stored: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stored["accounts"], json!([]), "nothing is stored");
    assert_nothing_leaked(&server, &[&bob.password, "wrong-password"]);
}

#[tokio::test]
async fn real_app_password_a_lost_answer_costs_nothing_and_an_upgrade_keeps_the_account() {
    let Some((network, server)) = open().await else { return };
    let bob = network.account("bob.test").clone();
    let (mut phone, mut laptop) = (server.visitor(), server.visitor());
    let listed = sign_in(&mut phone, &bob).await;
    sign_in(&mut laptop, &bob).await;

    // The server renews the session and its answer is lost: the same refresh token brings the same successor.
    network.clear_log().await;
    network.fault(REFRESH_SESSION, ServerFault::Lost, 1).await;
    network.fault(GET_SESSION, ServerFault::Refuse(400, "ExpiredToken"), 1).await;
    assert_eq!(phone.get(GET_SESSION).await.expect_status(200).json()["did"], bob.did.as_str());
    assert_eq!(network.statuses(REFRESH_SESSION, 2).await.len(), 2, "once more, at once");
    assert_eq!(phone.get("/api/tokens/health").await.json()[0]["state"], "ok");

    // The upgrade: consent at the PDS, for exactly this account.
    network.clear_log().await;
    let upgrade = listed["upgradeUrl"].as_str().unwrap();
    let page = phone.get(upgrade).await.expect_status(302).location().to_owned();
    let callback = network.browser().approve(&page, &bob).await;
    let _home = phone.finish_login(&callback).await.expect_status(303);
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [200]);
    assert_eq!(network.statuses(DELETE_SESSION, 1).await, [200], "the session of the app password is over");
    network.await_grants(&bob.did, 1).await;
    for device in [&mut phone, &mut laptop] {
        let account = device.get("/api/accounts").await.expect_status(200).json()["accounts"][0].clone();
        assert_eq!((&account["id"], &account["authType"]), (&listed["id"], &json!("oauth")), "{account}");
        assert!(account.get("upgradeUrl").is_none(), "{account}");
        assert_eq!(device.get(GET_SESSION).await.expect_status(200).json()["did"], bob.did.as_str());
    }

    // The app password itself is its owner's: it is as good as before, elsewhere.
    let login = json!({"identifier": bob.handle, "password": bob.app_password});
    let request = TestRequest::post_json(&format!("{}{CREATE_SESSION}", network.pds()), &login);
    assert_eq!(TestClient::new().send(request).await.status, 200);
    let back = laptop.post(ROUTE, &login).await.expect_status(409).json();
    assert_eq!(back["error"], "connected_by_oauth", "{back}");
    assert_nothing_leaked(&server, &[&bob.app_password]);
}
