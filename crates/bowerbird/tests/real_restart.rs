//! kill -9 at the wrong moments, at a real PDS.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use bowerbird_core::{CredentialState, Did, Platform};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::real::{NetworkOptions, RealNetwork, ServerFault};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use bowerbird_testkit::sweep::Sweep;
use serde_json::Value;

const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
/// In milliseconds, as the lives of access tokens are set.
const A_MOMENT: u64 = 1500;
const AN_HOUR: u64 = 3_600_000;

#[tokio::test]
async fn real_logins_and_sessions_survive_a_kill() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let mut server = BowerbirdProcess::start(options).await;
    let alice = network.account("alice.test").clone();
    let mut visitor = server.visitor();
    network.set_access_millis(A_MOMENT).await;

    // Killed while the person is at the PDS.
    let page = visitor.start_login("alice.test").await;
    server.kill();
    let callback = network.browser().approve(&page, &alice).await;
    server.restart().await;
    let answer = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!(answer.location(), "/");
    assert_eq!(visitor.session().await.expect_status(200).json()["did"], alice.did.as_str());
    assert_eq!(network.await_grants(&alice.did, 1).await.len(), 1);

    // The login was taken once, over the restart too.
    server.restart().await;
    network.clear_log().await;
    let again = server.visitor().finish_login(&callback).await.expect_status(400);
    assert!(again.text().contains("invalid_state") || again.text().contains("login_session"), "{}", again.text());
    assert!(network.log("/oauth").await.is_empty(), "a spent code is not shown again: that would end the grant");

    // Killed when the access token is over: the session is there, and one refresh brings a new token.
    network.set_access_millis(AN_HOUR).await;
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;
    let seal = visitor.seal().unwrap();
    server.restart().await;
    assert_eq!(visitor.session().await.expect_status(200).json()["did"], alice.did.as_str());
    network.clear_log().await;
    let app = server.app(&seal);
    let calls = (0..10).map(|_| app.get(GET_SESSION));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.expect_status(200).json()["handle"], "alice.test");
    }
    let refreshes = network.statuses(endpoint::TOKEN, 1).await;
    assert!(matches!(refreshes[..], [200] | [400, 200]), "a nonce and a refresh at most: {refreshes:?}");

    // What the refresh brought was stored before anybody got an answer: it is there after another kill.
    server.restart().await;
    network.clear_log().await;
    assert_eq!(visitor.get(GET_SESSION).await.status, 200);
    assert!(network.log(endpoint::TOKEN).await.is_empty());

    // The data folder and the log hold nothing that opens the PDS: neither a token nor a code nor a state.
    let secrets = url::Url::parse(&callback).unwrap();
    let secrets = secrets.query_pairs().filter(|(name, _)| name == "code" || name == "state");
    let mut secrets: Vec<String> = secrets.map(|(_, value)| value.into_owned()).collect();
    assert_eq!(secrets.len(), 2);
    secrets.push(seal);
    Sweep::new(secrets).folder(&server.data_dir()).bytes("log", &server.stderr().bytes()).assert_clean();
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

#[tokio::test]
async fn real_backup_from_before_the_sign_out_opens_nothing() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let mut server = BowerbirdProcess::start(options).await;
    let alice = network.account("alice.test").clone();
    let mut visitor = server.visitor();
    let _home = visitor.login_at_real(&network.browser(), &alice).await.expect_status(303);
    assert_eq!(visitor.get(GET_SESSION).await.status, 200);
    let seal = visitor.seal().unwrap();

    // A copy of everything the server has, from while the grant was alive.
    server.kill();
    let backup = tempfile::tempdir().unwrap();
    copy_folder(&server.data_dir(), backup.path());
    server.restart().await;
    let _signed_out = visitor.post("/api/auth/logout", &Value::Null).await.expect_status(200);
    network.await_grants(&alice.did, 0).await;
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    std::fs::create_dir(server.data_dir()).unwrap();
    copy_folder(backup.path(), &server.data_dir());
    server.restart().await;

    // The copy believes in the session; its access token and its refresh token are dead at the PDS.
    let app = server.app(&seal);
    assert_eq!(app.get("/api/auth/session").await.status, 200);
    network.clear_log().await;
    let dead = app.get(GET_SESSION).await.expect_status(401).json();
    assert_eq!((&dead["error"], &dead["reason"]), (&"needs_reauth".into(), &"revoked".into()), "{dead}");
    assert!(network.statuses(GET_SESSION, 1).await.ends_with(&[401]), "the access token was refused");
    assert!(network.statuses(endpoint::TOKEN, 1).await.ends_with(&[400]), "and so was the refresh token");
}

#[tokio::test]
async fn real_refresh_that_was_killed_is_not_sent_again_at_once() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let mut server = BowerbirdProcess::start(options).await;
    let alice = network.account("alice.test").clone();
    let mut visitor = server.visitor();
    network.set_access_millis(A_MOMENT).await;
    let _home = visitor.login_at_real(&network.browser(), &alice).await.expect_status(303);
    network.set_access_millis(AN_HOUR).await;
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;

    // Killed while the refresh is on its way: the PDS holds it back, and nobody knows what it made of it.
    network.clear_log().await;
    network.fault(endpoint::TOKEN, ServerFault::Delay(60_000), 1).await;
    let app = server.app(&visitor.seal().unwrap());
    let url = app.url(GET_SESSION);
    let caller = tokio::spawn({
        let (client, seal) = (server.client(), format!("Bearer {}", visitor.seal().unwrap()));
        async move { client.try_send(TestRequest::get(&url).header("authorization", &seal)).await }
    });
    network.await_faults_met(endpoint::TOKEN).await;
    server.kill();
    assert!(caller.await.unwrap().is_err(), "nobody was answered");
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await.len(), 1);

    let database = format!("sqlite:{}", server.data_dir().join("bowerbird.sqlite").display());
    let state = credential_state(&database, &alice.did).await;
    assert!(matches!(state, CredentialState::Refreshing { .. }), "the intent was there before the refresh: {state:?}");

    // To send it again could end the grant: the same token twice is a replay. So callers are told to come later.
    server.restart().await;
    network.clear_log().await;
    let later = app.get(GET_SESSION).await.expect_status(503);
    assert!(later.header("retry-after").is_some(), "{later:?}");
    assert!(network.log("/oauth").await.is_empty() && network.log(GET_SESSION).await.is_empty());
    assert_eq!(app.get("/api/auth/session").await.status, 200, "nobody is signed out on doubt");
    assert_eq!(network.grants(&alice.did).await.len(), 1, "the grant lives");
}

/// What the database says of an account's grant.
async fn credential_state(database: &str, did: &str) -> CredentialState {
    let database = SqlStores::open(database).await.unwrap();
    let stores = database.stores();
    let account = stores.accounts.find_by_did(&Did::parse(did).unwrap()).await.unwrap().unwrap();
    let connection = stores.connections.find(account.id, &Platform::atproto(), did).await.unwrap().unwrap();
    let credential = stores.credentials.find(connection.id).await.unwrap().unwrap();
    database.close().await;
    credential.state
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
