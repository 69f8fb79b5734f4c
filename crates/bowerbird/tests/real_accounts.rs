//! Many accounts on one device, at a real PDS: the eight items of the testing checklist (row D-024), each by its name, and
//! two devices of one account.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{DnsAnswer, FaultDns, endpoint};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};

const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
/// In milliseconds, as the lives of access tokens are set.
const A_MOMENT: u64 = 1500;
const AN_HOUR: u64 = 3_600_000;
/// A domain of Alice's own.
const OWN: &str = "alice-bower.dev";

/// The real network, a server on it, and a device on which the three accounts are signed in, the last one active: two by
/// OAuth, and carla.test with an app password.
struct Scene {
    network: RealNetwork,
    server: BowerbirdProcess,
    device: Visitor,
    accounts: [RealAccount; 3],
}

impl Scene {
    async fn open() -> Option<Self> {
        if !RealNetwork::available() {
            return None;
        }
        let network = RealNetwork::start(NetworkOptions::default()).await;
        let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
        let server = BowerbirdProcess::start(options.env("BOWERBIRD_APP_PASSWORDS", "true")).await;
        let accounts = ["alice.test", "bob.test", "carla.test"].map(|handle| network.account(handle).clone());
        let mut device = server.visitor();
        for account in &accounts[..2] {
            let _home = device.login_at_real(&network.browser(), account).await.expect_status(303);
        }
        let body = json!({"identifier": accounts[2].handle, "password": accounts[2].app_password});
        let _added = device.post("/api/accounts/app-password", &body).await.expect_status(200);
        network.clear_log().await;
        Some(Self { network, server, device, accounts })
    }

    async fn list(&mut self) -> Vec<Value> {
        let answer = self.device.get("/api/accounts").await.expect_status(200).json();
        answer["accounts"].as_array().unwrap().clone()
    }

    /// Calls as an account of the device, active or not.
    async fn call_as(&self, account: &RealAccount) -> Answer {
        let app = self.server.app(&self.device.seal().unwrap());
        app.send(TestRequest::get(&app.url(GET_SESSION)).header("bowerbird-account", &account.did)).await
    }

    fn assert_sound(&self) {
        assert!(!self.server.stderr().text().contains("panicked"), "{}", self.server.stderr().text());
    }
}

fn did_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["did"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn real_checklist_1_handles_of_the_accounts_server() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let server = BowerbirdProcess::start(ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network)).await;
    let alice = network.account("alice.test").clone();
    for typed in ["alice.test", "@alice.test", "ALICE.test "] {
        let mut visitor = server.visitor();
        let page = visitor.start_login(typed).await;
        let callback = network.browser().approve(&page, &alice).await;
        let _home = visitor.finish_login(&callback).await.expect_status(303);
        let session = visitor.session().await.expect_status(200).json();
        assert_eq!((&session["did"], &session["handle"]), (&json!(alice.did), &json!("alice.test")), "{typed}");
    }
}

#[tokio::test]
async fn real_checklist_2_a_handle_on_a_domain_of_ones_own() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let dns = FaultDns::start();
    network.announce_in(&dns);
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
        .env("BOWERBIRD_PLC_URL", network.plc())
        .env("BOWERBIRD_DNS_SERVERS", &dns.address().to_string())
        .env("BOWERBIRD_EGRESS_ALLOW", &network.egress_allow());
    let mut server = BowerbirdProcess::start(options).await;
    let mut visitor = server.visitor();
    let before = network.account("alice.test").clone();
    let _home = visitor.login_at_real(&network.browser(), &before).await.expect_status(303);
    let id = visitor.get("/api/accounts/alice.test").await.expect_status(200).json()["id"].clone();

    dns.script(&format!("_atproto.{OWN}"), "TXT", vec![DnsAnswer::Txt(vec![format!("did={}", before.did)])]);
    let alice = network.move_to_domain(&before, OWN).await;
    // Her document of before is remembered for nine minutes; a new process knows nothing.
    server.restart().await;
    let _home = visitor.login_at_real(&network.browser(), &alice).await.expect_status(303);
    let session = visitor.session().await.expect_status(200).json();
    assert_eq!((&session["did"], &session["handle"]), (&json!(alice.did), &json!(OWN)));
    // It is the same account under its new name, on another device too.
    let found = visitor.get(&format!("/api/accounts/{OWN}")).await.expect_status(200).json();
    assert_eq!((&found["id"], &found["did"]), (&id, &json!(alice.did)));
    assert_eq!(visitor.get("/api/accounts/alice.test").await.status, 404);
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["handle"], OWN);
    let mut elsewhere = server.visitor();
    let _home = elsewhere.login_at_real(&network.browser(), &alice).await.expect_status(303);
    assert_eq!(elsewhere.get("/api/accounts").await.json()["accounts"][0]["id"], id);
}

#[tokio::test]
async fn real_checklist_3_many_accounts_are_added() {
    let Some(mut scene) = Scene::open().await else { return };
    let listed = scene.list().await;
    let brief: Vec<_> =
        listed.iter().map(|row| (row["handle"].clone(), row["authType"].clone(), row["active"].clone())).collect();
    assert_eq!(
        brief,
        [
            (json!("alice.test"), json!("oauth"), json!(false)),
            (json!("bob.test"), json!("oauth"), json!(false)),
            (json!("carla.test"), json!("app_password"), json!(true)),
        ]
    );
    assert!(listed.iter().all(|row| row["status"] == "ok"), "{listed:?}");
    for (row, account) in listed.iter().zip(scene.accounts.clone()) {
        for name in [row["id"].as_str().unwrap(), &account.did, &account.handle] {
            let found = scene.device.get(&format!("/api/accounts/{name}")).await.expect_status(200).json();
            assert_eq!(found["did"], account.did.as_str(), "{name}");
        }
    }
    scene.assert_sound();
}

#[tokio::test]
async fn real_checklist_4_switching_needs_no_sign_in() {
    let Some(mut scene) = Scene::open().await else { return };
    for account in [0, 1, 0, 2] {
        let account = scene.accounts[account].clone();
        let path = format!("/api/accounts/{}/activate", account.did);
        let _switched = scene.device.post(&path, &json!({})).await.expect_status(200);
        assert_eq!(scene.device.session().await.json()["did"], account.did.as_str());
        assert_eq!(did_of(&scene.device.get(GET_SESSION).await), account.did);
    }
    assert!(scene.network.log("/oauth").await.is_empty(), "no sign-in, and no refresh either");
    scene.assert_sound();
}

#[tokio::test]
async fn real_checklist_5_an_account_that_is_not_active_is_refreshed() {
    let Some(mut scene) = Scene::open().await else { return };
    // Alice gets a token for a moment, then Bob is the one who is used.
    scene.network.set_access_millis(A_MOMENT).await;
    let (alice, bob) = (scene.accounts[0].clone(), scene.accounts[1].clone());
    let _home = scene.device.login_at_real(&scene.network.browser(), &alice).await.expect_status(303);
    scene.network.set_access_millis(AN_HOUR).await;
    let _switched =
        scene.device.post(&format!("/api/accounts/{}/activate", bob.did), &json!({})).await.expect_status(200);
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;
    scene.network.clear_log().await;
    assert_eq!(did_of(&scene.call_as(&alice).await), alice.did);
    let refreshes = scene.network.statuses(endpoint::TOKEN, 1).await;
    assert!(matches!(refreshes[..], [200] | [400, 200]), "a nonce and a refresh at most: {refreshes:?}");
    assert_eq!(scene.device.session().await.json()["did"], bob.did.as_str(), "and Bob is active still");
    assert_eq!(did_of(&scene.device.get(GET_SESSION).await), bob.did);
    scene.assert_sound();
}

#[tokio::test]
async fn real_checklist_6_a_restart_changes_nothing() {
    let Some(mut scene) = Scene::open().await else { return };
    let alice = scene.accounts[0].clone();
    let _switched =
        scene.device.post(&format!("/api/accounts/{}/activate", alice.did), &json!({})).await.expect_status(200);
    let before = scene.list().await;
    let devices = scene.device.get("/api/devices").await.expect_status(200).json();
    let events = scene.device.get("/api/security-events").await.expect_status(200).json();
    scene.server.kill();
    scene.server.restart().await;
    assert_eq!(scene.list().await, before, "the same accounts with the same ids, and the same one active");
    assert_eq!(scene.device.get("/api/devices").await.expect_status(200).json(), devices);
    assert_eq!(scene.device.get("/api/security-events").await.expect_status(200).json(), events);
    assert_eq!(did_of(&scene.device.get(GET_SESSION).await), alice.did);
    for account in &scene.accounts {
        assert_eq!(did_of(&scene.call_as(account).await), account.did);
    }
    assert!(scene.network.log("/oauth").await.is_empty(), "nobody had to sign in or to be refreshed");
    scene.assert_sound();
}

#[tokio::test]
async fn real_checklist_7_one_account_leaves() {
    let Some(mut scene) = Scene::open().await else { return };
    let [alice, bob, carla] = scene.accounts.clone();
    let _left = scene.device.delete(&format!("/api/accounts/{}", alice.did)).await.expect_status(200);
    scene.network.await_grants(&alice.did, 0).await;
    assert_eq!(scene.network.grants(&bob.did).await.len(), 1);
    assert_eq!(scene.call_as(&alice).await.status, 404);
    for account in [&bob, &carla] {
        assert_eq!(did_of(&scene.call_as(account).await), account.did);
    }
    let left: Vec<_> = scene.list().await.iter().map(|row| row["handle"].clone()).collect();
    assert_eq!(left, ["bob.test", "carla.test"]);
    scene.assert_sound();
}

#[tokio::test]
async fn real_checklist_8_calls_of_several_accounts_at_once() {
    let Some(scene) = Scene::open().await else { return };
    let calls = (0..60).map(|number| scene.call_as(&scene.accounts[number % 3]));
    let answers = futures_util::future::join_all(calls).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(did_of(answer), scene.accounts[number % 3].did, "call {number}");
    }
    // Writes too: each lands in its own repository.
    let app = scene.server.app(&scene.device.seal().unwrap());
    let writes = scene.accounts.iter().map(|account| {
        let record =
            json!({"$type": "app.bsky.feed.post", "text": account.handle, "createdAt": "2026-11-25T12:00:00.000Z"});
        let body = json!({"repo": account.did, "collection": "app.bsky.feed.post", "record": record});
        let request = TestRequest::post_json(&app.url("/xrpc/com.atproto.repo.createRecord"), &body);
        app.send(request.header("bowerbird-account", &account.did))
    });
    for (answer, account) in futures_util::future::join_all(writes).await.iter().zip(&scene.accounts) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let uri = answer.json()["uri"].as_str().unwrap().to_owned();
        assert!(uri.starts_with(&format!("at://{}/", account.did)), "{uri}");
        let stored = scene.network.record(&uri).await.expect_status(200).json();
        assert_eq!(stored["value"]["text"], account.handle.as_str());
    }
    scene.assert_sound();
}

#[tokio::test]
async fn real_devices_refresh_at_once_and_leave_at_once() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let server = BowerbirdProcess::start(ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network)).await;
    let alice = network.account("alice.test").clone();
    let (mut phone, mut laptop, mut tablet) = (server.visitor(), server.visitor(), server.visitor());
    for device in [&mut phone, &mut laptop] {
        let _home = device.login_at_real(&network.browser(), &alice).await.expect_status(303);
    }
    network.set_access_millis(A_MOMENT).await;
    let _home = tablet.login_at_real(&network.browser(), &alice).await.expect_status(303);
    network.set_access_millis(AN_HOUR).await;
    assert_eq!(network.await_grants(&alice.did, 1).await.len(), 1, "one grant for all devices");
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;

    // All of them find the token over at the same moment: it is renewed once.
    network.clear_log().await;
    let apps = [&phone, &laptop, &tablet].map(|device| server.app(&device.seal().unwrap()));
    let calls = (0..12).map(|number| apps[number % 3].get(GET_SESSION));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(did_of(&answer), alice.did);
    }
    let refreshes = network.statuses(endpoint::TOKEN, 1).await;
    assert!(matches!(refreshes[..], [200] | [400, 200]), "a nonce and a refresh at most: {refreshes:?}");

    // The tablet signs the phone out; the copied seal is dead, the grant lives for the others.
    let listed = phone.get("/api/devices").await.expect_status(200).json();
    assert_eq!(listed["total"], 3);
    let phones_id = listed["devices"][0]["id"].as_str().unwrap();
    let _ended = tablet.delete(&format!("/api/devices/{phones_id}")).await.expect_status(200);
    assert_eq!(apps[0].get(GET_SESSION).await.status, 401);
    assert_eq!(did_of(&apps[1].get(GET_SESSION).await), alice.did);
    assert_eq!(network.grants(&alice.did).await.len(), 1);

    // The last two leave at the same moment, one of them with a call under way.
    let (nothing, all) = (json!({}), json!({"which": "all"}));
    let (call, one, two) = tokio::join!(
        apps[1].get(GET_SESSION),
        laptop.post("/api/auth/logout", &nothing),
        tablet.post("/api/devices/sign-out", &all),
    );
    assert!(matches!(call.status, 200 | 401), "{} {}", call.status, call.text());
    assert!(one.status == 200 && matches!(two.status, 200 | 401), "{} {}", one.status, two.status);
    network.await_grants(&alice.did, 0).await;
    for app in &apps {
        assert_eq!(app.get("/api/auth/session").await.status, 401);
    }
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}
