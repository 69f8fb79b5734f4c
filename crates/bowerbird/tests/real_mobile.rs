//! What the apps of the documents send, step by step, against the real PDS: the Swift sample, the Kotlin sample, and the backend with
//! `/api/auth/start` and `/api/auth/tokens`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};
use url::Url;

/// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";

struct House {
    network: RealNetwork,
    server: BowerbirdProcess,
    alice: RealAccount,
}

impl House {
    async fn open() -> Self {
        let network = RealNetwork::start(NetworkOptions::default()).await;
        let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
        let options = options.env("BOWERBIRD_MOBILE_SCHEME", "app://auth-callback,limit://auth");
        let server = BowerbirdProcess::start(options.env("BOWERBIRD_APP_NAME", "Anchor")).await;
        let alice = network.account("alice.test").clone();
        Self { network, server, alice }
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.server.client().send(TestRequest::post_json(&self.server.url(path), body)).await
    }

    async fn get(&self, path: &str, header: (&str, &str)) -> Answer {
        self.server.client().send(TestRequest::get(&self.server.url(path)).header(header.0, header.1)).await
    }

    /// As `HTTPCookieStorage` and `URLSession` do: every call carries the cookie, and takes the new one.
    async fn with_cookie(&self, path: &str, sid: &mut String) -> Answer {
        let answer = self.get(path, ("cookie", &format!("sid={sid}"))).await;
        if let Some(set) = answer.header("set-cookie") {
            let value = set.split(';').next().and_then(|pair| pair.strip_prefix("sid=")).unwrap();
            value.clone_into(sid);
        }
        answer
    }
}

fn pair(link: &Url, name: &str) -> Option<String> {
    link.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// `target/screenshots`, beside the folder of the build.
fn pictures_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}

#[tokio::test]
async fn real_swift_sample_from_the_page_to_the_refreshed_cookie() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open().await;
    // 1. ASWebAuthenticationSession loads the page; the redirect to the scheme is intercepted.
    let page = house.server.url("/mobile-auth");
    let seen = house.network.drive_mobile(&page, &pictures_folder(), &house.alice).await;
    for name in ["complaints", "foreign", "overflows"] {
        assert_eq!(seen[name], json!([]), "{name}");
    }
    for text in ["Sign in to Anchor", "Connect with your Bluesky account", "Bluesky Handle", "Powered by AT Protocol"] {
        assert!(seen["text"].as_str().unwrap().contains(text), "{}", seen["text"]);
    }
    assert_eq!(seen["empty"], "Please enter your Bluesky handle");
    let posted = seen["posted"].as_array().unwrap().last().unwrap();
    assert!(posted["url"].as_str().unwrap().ends_with("/api/auth/mobile-start"));
    assert_eq!(posted["body"]["code_challenge"].as_str().unwrap().len(), 43, "made in the page");
    assert_eq!(seen["cookies"], json!(["login"]), "the browser itself is not signed in");

    // 2. The callback's parameters, and the cookie that the app makes of them.
    let link = Url::parse(seen["link"].as_str().unwrap()).unwrap();
    assert_eq!((link.scheme(), link.host_str()), ("app", Some("auth-callback")));
    assert_eq!(pair(&link, "did").as_deref(), Some(house.alice.did.as_str()));
    assert_eq!(pair(&link, "handle").as_deref(), Some("alice.test"));
    let mut sid = pair(&link, "session_token").unwrap();

    // 3. The session is validated, which extends it.
    let first = sid.clone();
    let session = house.with_cookie("/api/auth/session", &mut sid).await.expect_status(200).json();
    assert_eq!((&session["valid"], &session["did"]), (&json!(true), &json!(house.alice.did)));
    assert_ne!(sid, first, "a fresh cookie came along");

    // 4. The refresh, and a call with what came of it.
    let refreshed = house.with_cookie("/mobile/refresh-token", &mut sid).await.expect_status(200).json();
    assert_eq!((&refreshed["success"], &refreshed["payload"]["sid"]), (&json!(true), &json!(sid)));
    let called = house.with_cookie(GET_SESSION, &mut sid).await.expect_status(200).json();
    assert_eq!(called["did"], house.alice.did.as_str());
    assert_eq!(
        house.network.statuses(endpoint::TOKEN, 1).await,
        [200],
        "one exchange at the PDS, and no refresh there"
    );
    assert!(!house.server.stderr().text().contains("Fe26."), "no seal in the log");
}

#[tokio::test]
async fn real_page_with_the_apps_own_challenge_gives_a_code_that_needs_the_verifier() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open().await;
    let wish = format!("code_challenge={CHALLENGE}&code_challenge_method=S256&redirect_uri=app%3A%2F%2Fauth-callback");
    let page = house.server.url(&format!("/mobile-auth?{wish}"));
    let seen = house.network.drive_mobile(&page, &pictures_folder().join("code"), &house.alice).await;
    let link = Url::parse(seen["link"].as_str().unwrap()).unwrap();
    assert_eq!(link.query_pairs().count(), 1, "a code and nothing else: {link}");
    let code = pair(&link, "code").unwrap();
    let stolen = house.post("/api/auth/tokens", &json!({"code": code})).await;
    assert_eq!((stolen.status, stolen.json()["error"].as_str()), (400, Some("Invalid or expired code")));
    let tokens = house.post("/api/auth/tokens", &json!({"code": code, "code_verifier": VERIFIER})).await;
    assert_eq!(tokens.expect_status(200).json()["did"], house.alice.did.as_str());
    let log = house.server.stderr().text();
    assert!(!log.contains(&code) && !log.contains(VERIFIER), "neither is in the log");
}

#[tokio::test]
async fn real_kotlin_sample_with_the_session_as_bearer() {
    if !RealNetwork::available() {
        return;
    }
    let house = House::open().await;
    let body = json!({"handle": "alice.test", "code_challenge": CHALLENGE});
    let begun = house.post("/api/auth/mobile-start", &body).await.expect_status(200).json();
    let callback = house.network.browser().approve(begun["authUrl"].as_str().unwrap(), &house.alice).await;
    let link = house.server.client().get(&callback).await.expect_status(302);
    let link = Url::parse(link.location()).unwrap();
    // `uri.scheme == "yourapp" && uri.host == "auth-callback"`
    assert_eq!((link.scheme(), link.host_str()), ("app", Some("auth-callback")));
    let bearer = format!("Bearer {}", pair(&link, "session_token").unwrap());
    let session = house.get("/api/auth/session", ("authorization", &bearer)).await.expect_status(200).json();
    assert_eq!((&session["handle"], &session["userHandle"]), (&json!("alice.test"), &json!("alice.test")));
    let refreshed = house.get("/mobile/refresh-token", ("authorization", &bearer)).await.expect_status(200).json();
    let fresh = format!("Bearer {}", refreshed["payload"]["sid"].as_str().unwrap());
    assert_eq!(
        house.get(GET_SESSION, ("authorization", &fresh)).await.expect_status(200).json()["did"],
        house.alice.did.as_str()
    );
}

#[tokio::test]
async fn real_backend_with_start_and_tokens() {
    if !RealNetwork::available() {
        return;
    }
    let house = House::open().await;
    let bob = house.network.account("bob.test").clone();
    let sign_in = async |account: &RealAccount| {
        // The app knows a handle and nothing else.
        let begun = house.post("/api/auth/start", &json!({"handle": account.handle})).await.expect_status(200).json();
        assert_eq!(begun["handle"], account.handle.as_str());
        let page = begun["authUrl"].as_str().unwrap();
        assert!(page.starts_with(house.network.issuer()), "{page}");
        let callback = house.network.browser().approve(page, account).await;
        let end = house.server.client().get(&callback).await.expect_status(302);
        let link = Url::parse(end.location()).unwrap();
        let code = pair(&link, "code").unwrap();
        let tokens = house.post("/api/auth/tokens", &json!({"code": code})).await.expect_status(200).json();
        assert_eq!((&tokens["did"], &tokens["pds"]), (&json!(account.did), &json!(house.network.pds())));
        tokens
    };
    // Two accounts side by side, each with a session of its own.
    let (of_alice, of_bob) = (sign_in(&house.alice).await, sign_in(&bob).await);
    let did = async |tokens: &Value| {
        let bearer = format!("Bearer {}", tokens["accessToken"].as_str().unwrap());
        house.get(GET_SESSION, ("authorization", &bearer)).await.expect_status(200).json()["did"].clone()
    };
    let both = tokio::join!(did(&of_alice), did(&of_bob));
    assert_eq!(both, (json!(house.alice.did), json!(bob.did)));
    // The app saves the new string at once, and the old one is worth nothing after the new one was used.
    house.network.clear_log().await;
    let renew = async |token: &Value| house.post("/api/auth/tokens", &json!({"refreshToken": token})).await;
    let second = renew(&of_bob["refreshToken"]).await.expect_status(200).json();
    let third = renew(&second["refreshToken"]).await.expect_status(200).json();
    assert_eq!(did(&third).await, json!(bob.did));
    assert_eq!(house.network.log(endpoint::TOKEN).await, Vec::<Value>::new(), "the PDS is not asked for it");
    // Signing one out leaves the other.
    let bearer = format!("Bearer {}", third["accessToken"].as_str().unwrap());
    let logout =
        TestRequest::post_json(&house.server.url("/api/auth/logout"), &json!({})).header("authorization", &bearer);
    let _signed_out = house.server.client().send(logout).await.expect_status(200);
    assert_eq!(renew(&third["refreshToken"]).await.status, 401);
    house.network.await_grants(&bob.did, 0).await;
    assert_eq!(did(&of_alice).await, json!(house.alice.did));
}
