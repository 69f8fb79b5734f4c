//! Moving from `@tijs/atproto-oauth-hono`: a sign-in of a real PDS, in a file and with seals like its own, goes on here.

#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{
    GrantFacts, KeyEncryptionKey, KeyProvider, KeyProviderError, PreparedRefresh, RefreshRefusal, Refresher,
};
use bowerbird_core::{Did, Platform, SecretBytes};
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::real::{NetworkOptions, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use bowerbird_testkit::sweep::Sweep;
use bowerbird_vault::{OpenedGrant, Vault, VaultConfig};
use serde_json::{Value, json};

const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
const OLD_SECRET: &str = "the-cookie-secret-of-the-server-before-0123456789";
const OWN_SECRET: &str = "the-cookie-secret-of-this-server-0123456789abcdef";
const OTHER_SECRET: &str = "a-cookie-secret-that-nobody-has-listed-0123456789";

/// The key of a loopback installation, from its file.
struct KeyOfFile(Vec<u8>);

#[async_trait]
impl KeyProvider for KeyOfFile {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        Err(KeyProviderError::Misconfigured("nothing is sealed here"))
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        Ok(Some(KeyEncryptionKey { id: id.to_owned(), key: SecretBytes::new(self.0.clone()) }))
    }
}

struct NoIssuer;

#[async_trait]
impl Refresher for NoIssuer {
    async fn prepare(&self, _: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        Err(RefreshRefusal::NotNow("nothing is refreshed here".into()))
    }
}

/// The tokens of a server that is stopped: what the old server's file holds.
async fn grant(data: &Path, did: &str) -> OpenedGrant {
    let key = std::fs::read_to_string(data.join("encryption-key")).unwrap();
    let keys = Arc::new(KeyOfFile(URL_SAFE_NO_PAD.decode(key.trim()).unwrap()));
    let database = SqlStores::open(&format!("sqlite:{}", data.join("bowerbird.sqlite").display())).await.unwrap();
    let stores = database.stores();
    let config = VaultConfig::new(database.cluster_id(&OsEntropy).await.unwrap());
    let vault =
        Vault::new(config, &stores, keys, Arc::new(NoIssuer), Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    let account = stores.accounts.find_by_did(&Did::parse(did).unwrap()).await.unwrap().unwrap();
    let connection = stores.connections.find(account.id, &Platform::atproto(), did).await.unwrap().unwrap();
    let grant = vault.open(connection.id).await.unwrap().unwrap();
    database.close().await;
    grant
}

/// Runs the script that stands for the old server. Gives its seals.
fn old_server(asked: &Value) -> Vec<String> {
    let folder = PathBuf::from(std::env::var_os("BOWERBIRD_TESTNET_DIR").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hono_storage.mjs");
    let mut node = Command::new(folder.join("node22/bin/node"))
        .arg(script)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "node failed");
    serde_json::from_value(serde_json::from_slice::<Value>(&output.stdout).unwrap()["sealed"].clone()).unwrap()
}

fn answer(output: &Output) -> Value {
    let told = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told()))
}

fn counts(answer: &Value) -> [u64; 4] {
    ["imported", "alreadyHere", "refused", "postponed"].map(|name| answer[name].as_u64().unwrap())
}

fn reason(answer: &Value, did: &str) -> Value {
    let sessions = answer["sessions"].as_array().unwrap();
    sessions.iter().find(|session| session["did"] == did).unwrap()["reason"].clone()
}

/// Another account, of which the file only has a broken sign-in.
fn did(letter: &str) -> String {
    format!("did:plc:{}", letter.repeat(24))
}

/// The old server's file: one good sign-in, and some that are not. Gives seals: of a browser, of a phone, under a secret that
/// is not listed, and of an account that is not taken over.
fn left_behind(file: &Path, account: &str, tokens: &OpenedGrant) -> Vec<String> {
    let key = tokens.dpop_key.as_ref().unwrap();
    let (mut private, public) = (
        serde_json::from_str::<Value>(key.private_jwk().expose()).unwrap(),
        serde_json::to_value(key.public_jwk()).unwrap(),
    );
    private["key_ops"] = json!(["sign"]);
    private["ext"] = true.into();
    let stored = json!({
        "did": account, "handle": "alice.test", "pdsUrl": tokens.audience,
        "accessToken": tokens.access_token.expose(), "refreshToken": tokens.refresh_token.as_ref().unwrap().expose(),
        "dpopPrivateKeyJWK": private, "dpopPublicKeyJWK": public, "tokenExpiresAt": 1,
    });
    let jwt = |claims: Value| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let with = |name: &str, value: Value| {
        let mut changed = stored.clone();
        changed.as_object_mut().unwrap().remove("did");
        changed[name] = value;
        changed
    };
    let other_client = jwt(json!({"client_id": "https://old.test/client-metadata.json"}));
    let row = |did: &str, value: Value| json!({"key": format!("session:{did}"), "value": value});
    old_server(&json!({
        "file": file, "table": "iron_session_storage",
        "rows": [
            row(account, stored.clone()),
            row(&did("b"), with("accessToken", other_client.into())),
            row(&did("c"), "not json".into()),
            row(&did("d"), with("refreshToken", "x".repeat(200_000).into())),
            row(&did("e"), with("refreshToken", "".into())),
            json!({"key": format!("session:{}", did("f")), "value": with("handle", "f.test".into()), "expiresAt": 1}),
            json!({"key": "pkce:{\"handle\":\"x.test\"}", "value": {"codeVerifier": "v"}, "expiresAt": 1}),
        ],
        "seals": [
            {"data": {"did": account, "createdAt": 1_700_000_000_000_i64, "lastAccessed": 1_700_000_000_000_i64}, "password": OLD_SECRET},
            {"data": {"did": account}, "password": OLD_SECRET},
            {"data": {"did": account}, "password": OTHER_SECRET},
            {"data": {"did": did("b")}, "password": OLD_SECRET},
        ],
    }))
}

#[tokio::test]
async fn real_import_keeps_people_signed_in() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
        .on_real(&network)
        .env("BOWERBIRD_COOKIE_SECRET", &format!("{OWN_SECRET},{OLD_SECRET}"));
    let mut server = BowerbirdProcess::start(options).await;
    let alice = network.account("alice.test").clone();

    // A sign-in of the same client at the same address; then that server is gone, with everything but its tokens.
    let mut before = server.visitor();
    let _home = before.login_at_real(&network.browser(), &alice).await.expect_status(303);
    server.kill();
    let tokens = grant(&server.data_dir(), &alice.did).await;
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    std::fs::create_dir(server.data_dir()).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    let seals = left_behind(&file, &alice.did, &tokens);
    let [web, phone, wrong, never] = <[String; 4]>::try_from(seals).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let path = file.to_str().unwrap();

    // A look changes nothing, with and without the word for it.
    network.clear_log().await;
    let dry = server.command(&["import", "hono-sqlite", path, "--dry-run", "--json"]);
    assert!(dry.status.success());
    assert_eq!(counts(&answer(&dry)), [1, 0, 5, 0], "{}", answer(&dry));
    let unconfirmed = server.command(&["import", "hono-sqlite", path]);
    assert_eq!(unconfirmed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unconfirmed.stderr).contains("--confirm"));
    assert_eq!(answer(&server.command(&["accounts", "list", "--json"]))["accounts"], json!([]));

    let imported = server.command(&["import", "hono-sqlite", path, "--confirm", "--json"]);
    let report = answer(&imported);
    assert_eq!(counts(&report), [1, 0, 5, 0], "{report}");
    for (letter, code) in
        [("b", "other_client"), ("c", "malformed"), ("d", "too_large"), ("e", "no_refresh_token"), ("f", "expired")]
    {
        assert_eq!(reason(&report, &did(letter)), code, "{report}");
    }
    let again = answer(&server.command(&["import", "hono-sqlite", path, "--confirm", "--json"]));
    assert_eq!(counts(&again), [0, 1, 5, 0], "{again}");
    assert!(network.log("/oauth").await.is_empty(), "no token was shown to anybody");
    assert!(std::fs::read(&file).unwrap() == bytes, "the old file is as it was");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    // The seals of before open a session, in a browser and as a bearer; others do not.
    server.restart().await;
    let session = async |header: (&str, &str)| {
        let request = TestRequest::get(&server.url("/api/auth/session")).header("host", &server.host());
        server.client().send(request.header(header.0, header.1)).await
    };
    let by_cookie = session(("cookie", &format!("sid={web}"))).await.expect_status(200);
    assert_eq!(
        (&by_cookie.json()["did"], &by_cookie.json()["handle"]),
        (&alice.did.as_str().into(), &"alice.test".into())
    );
    let renewed = by_cookie.header("set-cookie").unwrap();
    assert!(renewed.starts_with("sid=Fe26.2*2*"), "sealed anew, with this server's own secret: {renewed}");
    assert_eq!(session(("authorization", &format!("Bearer {phone}"))).await.expect_status(200).json()["valid"], true);
    for seal in [&wrong, &never] {
        assert_eq!(session(("cookie", &format!("sid={seal}"))).await.status, 401);
    }

    // What was taken over can be renewed: at the real PDS, once, by its own command.
    network.clear_log().await;
    let refreshed = answer(&server.command(&["tokens", "refresh", "--account", "alice.test", "--json"]));
    assert!(refreshed.to_string().contains("alice.test") || refreshed.to_string().contains(&alice.did), "{refreshed}");
    let app = server.app(&phone);
    assert_eq!(app.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    let sent = network.statuses(endpoint::TOKEN, 1).await;
    assert!(matches!(sent[..], [200] | [400, 200]), "a nonce and a refresh at most: {sent:?}");

    // Encrypted at once: neither token nor key is anywhere in the data folder, the log or the report.
    let mut secrets = vec![tokens.access_token.expose().to_owned(), OLD_SECRET.to_owned(), phone.clone()];
    secrets.extend(tokens.refresh_token.iter().map(|token| token.expose().to_owned()));
    secrets.push(URL_SAFE_NO_PAD.encode(tokens.dpop_key.as_ref().unwrap().scalar().expose()));
    Sweep::new(secrets)
        .folder(&server.data_dir())
        .bytes("log", &server.stderr().bytes())
        .bytes("report", &imported.stdout)
        .bytes("told", &imported.stderr)
        .assert_clean();

    // Signing out ends the seals of before, all of them.
    let sign_out = TestRequest::post_json(&server.url("/api/auth/logout"), &Value::Null).header("host", &server.host());
    let sign_out = sign_out.header("authorization", &format!("Bearer {phone}"));
    assert_eq!(server.client().send(sign_out).await.status, 200);
    for seal in [&web, &phone] {
        assert_eq!(session(("cookie", &format!("sid={seal}"))).await.status, 401);
    }
    network.await_grants(&alice.did, 0).await;
    let after = answer(&server.command(&["import", "hono-sqlite", path, "--confirm", "--json"]));
    assert_eq!(counts(&after), [0, 1, 5, 0], "who signed out stays signed out: {after}");
}
