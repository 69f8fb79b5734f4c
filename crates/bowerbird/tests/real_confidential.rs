//! The confidential client at a real PDS: it fetches our metadata and keys, and each grant stays with the key it began with.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_bowerbird");
const PUBLIC_URL: &str = "https://bff.home.arpa";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
/// In milliseconds, as the lives of access tokens are set.
const A_MOMENT: u64 = 1500;
const AN_HOUR: u64 = 3_600_000;

#[tokio::test]
async fn real_confidential_client_keeps_each_grant_with_the_key_it_began_with() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("client-keys.json");
    let first = generate_key(&keys);
    let options = ServerOptions::new(BINARY)
        .on_real(&network)
        .public_url(PUBLIC_URL)
        .env("BOWERBIRD_CLIENT_KEYS", keys.to_str().unwrap());
    let mut server = BowerbirdProcess::start(options).await;
    let front = network.map_server(&server).await;

    // Alice signs in with the first key, and her access token ends in a moment.
    let mut alice = server.visitor();
    network.set_access_millis(A_MOMENT).await;
    log_in(&network, &mut alice, "alice.test").await;
    let grant = network.await_grants(&network.account("alice.test").did, 1).await.remove(0);
    assert_eq!(grant["auth"], "private_key_jwt", "{grant}");
    assert_eq!(grant["clientId"], format!("{PUBLIC_URL}/oauth-client-metadata.json"));
    let fetched: BTreeSet<String> = front.log().all().iter().map(|request| request.path().to_owned()).collect();
    assert!(fetched.contains("/oauth-client-metadata.json") && fetched.contains("/oauth/jwks.json"), "{fetched:?}");
    let cookie = alice.jar.get("__Host-sid").unwrap();
    assert!(cookie.secure && cookie.http_only && cookie.host_only, "{cookie:?}");
    assert!(alice.jar.get("sid").is_none());
    assert_eq!(kids(&server).await, std::slice::from_ref(&first));

    // A newer key comes in front; alice's grant goes on with the key it began with.
    let second = generate_key(&keys);
    assert_ne!(first, second);
    server.restart().await;
    assert_eq!(kids(&server).await, [second.clone(), first.clone()], "both are published");
    let (client_id, jwks) =
        (format!("{PUBLIC_URL}/oauth-client-metadata.json"), format!("{PUBLIC_URL}/oauth/jwks.json"));
    network.forget_client(&client_id, &jwks).await;
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;
    network.set_access_millis(AN_HOUR).await;
    expect_one_refresh(&network, &mut alice, "alice.test").await;

    // A new login takes the newer key: it works with that key alone.
    let mut bob = server.visitor();
    network.set_access_millis(A_MOMENT).await;
    log_in(&network, &mut bob, "bob.test").await;
    network.set_access_millis(AN_HOUR).await;
    tokio::time::sleep(Duration::from_millis(A_MOMENT)).await;
    // The older key is alice's: without it nothing starts, before the operator gives her sign-in up.
    server.terminate(Duration::from_secs(20)).await;
    remove_key(&keys, &first);
    let refused = BowerbirdProcess::try_start(server.options().data_of(&server)).await.expect_err("a key is missing");
    assert!(refused.stderr.contains(&format!("{first} (1 sign-ins)")), "{}", refused.stderr);
    let forgotten = server.command(&["keys", "forget-client", &first, "--confirm"]);
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    server.restart().await;
    assert_eq!(kids(&server).await, [second]);
    network.forget_client(&client_id, &jwks).await;
    expect_one_refresh(&network, &mut bob, "bob.test").await;

    // A browser that the PDS remembers comes back without a question: only confidential clients are trusted so far.
    let jar = folder.path().join("browser.json");
    let remembering = network.browser().remembering(&jar);
    let carla = network.account("carla.test").clone();
    let mut visitor = server.visitor();
    let _home = visitor.login_at_real(&remembering, &carla).await.expect_status(303);
    let wrong = RealAccount { password: "not asked for".to_owned(), ..carla.clone() };
    let _home = visitor.login_at_real(&remembering, &wrong).await.expect_status(303);
    network.await_grants(&carla.did, 1).await; // the newer one; the older one was given back
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], carla.did.as_str());

    // By Chromium.
    if RealNetwork::chromium_available() {
        let mut visitor = server.visitor();
        let _home = visitor.login_at_real(&network.chromium(), &carla).await.expect_status(303);
        assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], carla.did.as_str());
        let page = visitor.start_login("alice.test").await;
        let denied = network.chromium().deny(&page, network.account("alice.test")).await;
        assert!(visitor.finish_login(&denied).await.expect_status(400).text().contains("access_denied"));
        assert_eq!(visitor.session().await.json()["did"], carla.did.as_str(), "a denial leaves the session as it is");
    }

    // Signing out, with an assertion too.
    network.clear_log().await;
    let _signed_out = bob.post("/api/auth/logout", &Value::Null).await.expect_status(200);
    network.await_grants(&network.account("bob.test").did, 0).await;
    assert!(network.statuses("/oauth/revoke", 1).await.ends_with(&[200]));
    assert_eq!(bob.session().await.status, 401);
    assert_eq!(alice.session().await.status, 200, "another person's session is not touched");
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

/// Signs in and comes back to the start page.
async fn log_in(network: &RealNetwork, visitor: &mut Visitor, handle: &str) {
    let answer = visitor.login_at_real(&network.browser(), network.account(handle)).await;
    assert_eq!(answer.expect_status(303).location(), "/");
}

/// Calls with a token that is over: exactly one refresh, which the PDS accepts, and its grant lives on.
async fn expect_one_refresh(network: &RealNetwork, visitor: &mut Visitor, handle: &str) {
    network.clear_log().await;
    let session = visitor.get(GET_SESSION).await.expect_status(200).json();
    assert_eq!(session["handle"], handle);
    let refreshes = network.statuses(endpoint::TOKEN, 1).await;
    // After a restart the server knows no nonce yet: the PDS asks for one first, and consumes nothing.
    assert!(matches!(refreshes[..], [200] | [400, 200]), "{refreshes:?}");
    network.await_grants(&network.account(handle).did, 1).await;
    assert_eq!(visitor.get(GET_SESSION).await.status, 200);
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, refreshes, "the new token is kept");
}

/// Puts a new key in front of a file of keys, as an operator does; gives its name.
fn generate_key(path: &Path) -> String {
    let mut command = Command::new(BINARY);
    command.args(["keys", "generate", "client", "--json", "--into"]).arg(path).env_clear();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    told["kid"].as_str().unwrap().to_owned()
}

/// Takes a key out of the file.
fn remove_key(path: &Path, kid: &str) {
    let mut set: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    set["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != kid);
    std::fs::write(path, set.to_string()).unwrap();
}

/// The names of the published keys, in order; none of them with its private part.
async fn kids(server: &BowerbirdProcess) -> Vec<String> {
    let set = server.client().get(&server.url("/oauth/jwks.json")).await.expect_status(200).json();
    let keys = set["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key.get("d").is_none()), "{set}");
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}
