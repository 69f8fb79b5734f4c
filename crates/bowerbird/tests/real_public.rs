//! The public loopback client, without any configuration, at a real PDS: by plain HTTP.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::{TestClient, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};

const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
const CREATE_RECORD: &str = "/xrpc/com.atproto.repo.createRecord";
/// In milliseconds, as the lives of access tokens are set.
const A_MOMENT: u64 = 1500;
const AN_HOUR: u64 = 3_600_000;

#[tokio::test]
async fn real_public_client_from_the_login_to_the_sign_out() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let server = BowerbirdProcess::start(ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network)).await;
    let alice = network.account("alice.test").clone();
    let mut visitor = server.visitor();

    // The login. Its access token lives for a moment only.
    network.set_access_millis(A_MOMENT).await;
    let page = visitor.start_login("alice.test").await;
    assert!(page.starts_with(&format!("{}/oauth/authorize?", network.issuer())), "{page}");
    assert!(page.contains("request_uri=") && !page.contains("scope="), "everything is pushed: {page}");
    let callback = network.browser().approve(&page, &alice).await;
    let answer = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!(answer.location(), "/");
    network.set_access_millis(AN_HOUR).await;
    assert!(network.statuses(endpoint::PAR, 1).await.ends_with(&[201]));
    assert!(network.statuses(endpoint::TOKEN, 1).await.ends_with(&[200]));
    let grants = network.await_grants(&alice.did, 1).await;
    assert_eq!(
        (grants[0]["auth"].as_str(), grants[0]["scope"].as_str()),
        (Some("none"), Some("atproto transition:generic"))
    );

    // The cookie and the session.
    let cookie = visitor.jar.get("sid").unwrap().clone();
    assert!(cookie.http_only && cookie.host_only && cookie.persistent && !cookie.secure, "{cookie:?}");
    assert_eq!((cookie.same_site.as_str(), cookie.path.as_str()), ("lax", "/"));
    assert!(cookie.value.starts_with("Fe26.2*") && cookie.value.ends_with("~2"), "{}", cookie.value);
    let session = visitor.session().await.expect_status(200).json();
    assert_eq!(session["valid"], true);
    for (name, value) in [("did", &alice.did), ("handle", &alice.handle), ("userHandle", &alice.handle)] {
        assert_eq!(session[name], value.as_str(), "{name}");
    }
    assert_eq!((&session["accessToken"], &session["refreshToken"]), (&Value::Null, &Value::Null));
    assert!(session["expiresAt"].as_i64().unwrap() > 1_700_000_000_000, "milliseconds: {session}");

    // Twenty calls at once with an access token that is over: one refresh for all.
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;
    network.clear_log().await;
    let app = server.app(&visitor.seal().unwrap());
    let calls = (0..20).map(|_| app.get(GET_SESSION));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.expect_status(200).json()["did"], alice.did.as_str());
    }
    assert_eq!(network.statuses(GET_SESSION, 20).await, [200; 20], "no call went out with a dead token");
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [200], "one refresh for twenty calls");
    network.await_grants(&alice.did, 1).await;

    // A write, and reading it back, by us and at the PDS itself.
    let created =
        visitor.post(CREATE_RECORD, &post_of(&alice.did, "through the bower")).await.expect_status(200).json();
    let uri = created["uri"].as_str().unwrap();
    let stored = network.record(uri).await.expect_status(200).json();
    assert_eq!((&stored["value"]["text"], &stored["cid"]), (&"through the bower".into(), &created["cid"]));
    let (_, rkey) = uri.rsplit_once('/').unwrap();
    let query = format!("repo={}&collection=app.bsky.feed.post&rkey={rkey}", alice.did);
    let read = visitor.get(&format!("/xrpc/com.atproto.repo.getRecord?{query}")).await.expect_status(200);
    assert_eq!(read.json(), stored);
    assert_eq!(network.statuses(CREATE_RECORD, 1).await, [200]);

    // The PDS' own refusals come through as they are.
    let refused = visitor.post(CREATE_RECORD, &post_of("did:plc:ewvi7nxzyoun6zhxrhs64oiz", "not mine")).await;
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert_eq!(network.statuses(CREATE_RECORD, 2).await, [200, u64::from(refused.status)]);

    // Every nonce becomes invalid: one more attempt, and the caller does not notice.
    network.renew_nonces().await;
    network.clear_log().await;
    assert_eq!(visitor.get(GET_SESSION).await.status, 200);
    assert_eq!(network.statuses(GET_SESSION, 2).await, [401, 200]);

    // Signing out gives the grant back, and the old cookie is worth nothing.
    network.clear_log().await;
    let seal = visitor.seal().unwrap();
    let _signed_out = visitor.post("/api/auth/logout", &Value::Null).await.expect_status(200);
    assert!(visitor.seal().is_none(), "the cookie is taken back");
    network.await_grants(&alice.did, 0).await;
    assert!(network.statuses("/oauth/revoke", 1).await.ends_with(&[200]));
    let ended = server.app(&seal).get("/api/auth/session").await.expect_status(401).json();
    assert_eq!((&ended["valid"], &ended["reason"]), (&false.into(), &"session_invalid".into()));
    network.clear_log().await;
    assert_eq!(server.app(&seal).get(GET_SESSION).await.status, 401);
    assert!(network.log("/").await.is_empty(), "a dead session calls nobody");
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

#[tokio::test]
async fn real_public_client_denial_revocation_repair_and_other_ways_in() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let server = BowerbirdProcess::start(ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network)).await;
    let (alice, bob) = (network.account("alice.test").clone(), network.account("bob.test").clone());
    let mut visitor = server.visitor();

    // A denial is a page that says so, and leaves nothing.
    let page = visitor.start_login("alice.test").await;
    let denied = network.browser().deny(&page, &alice).await;
    let answer = visitor.finish_login(&denied).await.expect_status(400);
    assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:?}");
    assert!(answer.text().contains("access_denied"), "{}", answer.text());
    assert!(visitor.seal().is_none());
    assert_eq!(accounts(&server), Vec::<Value>::new());
    assert!(network.grants(&alice.did).await.is_empty());
    assert!(network.log(endpoint::TOKEN).await.is_empty(), "without a code there is nothing to exchange");
    assert_eq!(visitor.finish_login(&denied).await.status, 400, "a state is taken once");

    // By DID.
    let page = visitor.start_login(&alice.did).await;
    let callback = network.browser().approve(&page, &alice).await;
    let _home = visitor.finish_login(&callback).await.expect_status(303);
    let id = accounts(&server)[0]["id"].clone();
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["handle"], "alice.test");

    // The person ends the grant at the PDS: one refused call, one refused refresh, then nothing more.
    network.revoke_all(&alice.did).await;
    network.clear_log().await;
    let gone = visitor.get(GET_SESSION).await.expect_status(401).json();
    assert_eq!((&gone["error"], &gone["reason"]), (&"needs_reauth".into(), &"revoked".into()), "{gone}");
    assert_eq!(network.statuses(GET_SESSION, 1).await, [401]);
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [400]);
    network.clear_log().await;
    let again = visitor.get(GET_SESSION).await.expect_status(401).json();
    assert_eq!((&again["reason"], &again["repairUrl"]), (&gone["reason"], &gone["repairUrl"]));
    let tried = (network.log("/oauth").await, network.log(GET_SESSION).await);
    assert_eq!(tried, (vec![], vec![]), "a dead grant is not tried again");
    let listed = visitor.get("/api/accounts").await.expect_status(200).json()["accounts"][0].clone();
    assert_eq!((&listed["status"], &listed["repairUrl"]), (&"needs_reauth".into(), &gone["repairUrl"]), "{listed}");
    let repair = gone["repairUrl"].as_str().unwrap().to_owned();
    assert!(visitor.get("/").await.text().contains("Sign in again"), "the start page shows the way");

    // Another account cannot come back from the repair link, and its new grant is given back at once.
    let page = visitor.get(&repair).await.expect_status(302).location().to_owned();
    let callback = network.browser().approve(&page, &bob).await;
    let mismatch = visitor.finish_login(&callback).await.expect_status(403);
    assert!(mismatch.text().contains("account_mismatch"), "{}", mismatch.text());
    network.await_grants(&bob.did, 0).await;
    assert_eq!(accounts(&server).len(), 1, "nothing of bob is kept");
    assert_eq!(visitor.get(GET_SESSION).await.status, 401);

    // The right one can, and it is the same account as before.
    let page = visitor.get(&repair).await.expect_status(302).location().to_owned();
    let callback = network.browser().approve(&page, &alice).await;
    let _home = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    assert_eq!(accounts(&server)[0]["id"], id);
    assert_eq!(accounts(&server).len(), 1);
    network.await_grants(&alice.did, 1).await;

    // By the address of the server: whoever signs in there.
    let mut second = server.visitor();
    let page = second.start_login(network.pds()).await;
    let callback = network.browser().approve(&page, &bob).await;
    let _home = second.finish_login(&callback).await.expect_status(303);
    assert_eq!(second.session().await.json()["did"], bob.did.as_str());
    assert_eq!(second.get(GET_SESSION).await.expect_status(200).json()["handle"], "bob.test");

    // To make a new account, at a server.
    let query = url::form_urlencoded::Serializer::new("prompt=create&".to_owned())
        .append_pair("handle", network.pds())
        .finish();
    let page = server.visitor().get(&format!("/login?{query}")).await.expect_status(302).location().to_owned();
    let navigation = TestRequest::get(&page)
        .header("accept", "text/html")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document");
    let form = TestClient::new().send(navigation).await.expect_status(200).text();
    assert!(form.contains(r#"\"promptMode\":\"create\""#), "the PDS was asked for its sign-up page");
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

/// The accounts that the server has stored, by its own command line.
fn accounts(server: &BowerbirdProcess) -> Vec<Value> {
    let output = server.command(&["accounts", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    listed["accounts"].as_array().unwrap().clone()
}

/// A post to be created in somebody's repository.
fn post_of(did: &str, text: &str) -> Value {
    let record = json!({"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-11-21T12:00:00.000Z"});
    json!({"repo": did, "collection": "app.bsky.feed.post", "record": record})
}
