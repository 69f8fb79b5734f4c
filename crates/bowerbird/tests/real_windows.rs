//! What stands between a sign-in and an app in a real Chromium, with the real PDS behind it: the window of a web app, and the
//! page that names an app which began by itself.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};
use url::Url;

/// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct House {
    network: RealNetwork,
    server: BowerbirdProcess,
    alice: RealAccount,
    /// The port of the origin that the server lists.
    listed: u16,
}

impl House {
    async fn open(options: NetworkOptions) -> Self {
        let network = RealNetwork::start(options).await;
        // Free a moment ago: the server must know it at its start.
        let listed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
        let options = options.env("BOWERBIRD_CORS_ORIGINS", &format!("http://127.0.0.1:{listed}"));
        let options = options.env("BOWERBIRD_MOBILE_SCHEME", "app://auth-callback").env("BOWERBIRD_APP_NAME", "Anchor");
        let server = BowerbirdProcess::start(options).await;
        let alice = network.account("alice.test").clone();
        Self { network, server, alice, listed }
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.server.client().send(TestRequest::post_json(&self.server.url(path), body)).await
    }

    /// An app begins by itself; the page of the PDS that it opens in the system's browser.
    async fn begin(&self, path: &str, body: &Value) -> String {
        let begun = self.post(path, body).await.expect_status(200).json();
        begun["authUrl"].as_str().unwrap().to_owned()
    }

    async fn drive_continue(&self, page: &str, pictures: &str, goes_on: bool) -> Value {
        let (base, pictures) = (self.server.base_url(), pictures_folder().join(pictures));
        self.network.drive_continue(page, &base, &pictures, &self.alice, goes_on).await
    }
}

/// `target/screenshots`, beside the folder of the build.
fn pictures_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}

fn pair(link: &Url, name: &str) -> Option<String> {
    link.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn looks_right(seen: &Value) {
    for name in ["complaints", "foreign", "overflows"] {
        assert_eq!(seen[name], json!([]), "{name}");
    }
}

/// The page of an app, or of a stranger: no cookie that it reads, and nothing of a session in what it heard.
fn holds_no_secret(page: &Value) {
    assert_eq!(page["cookies"], "", "no cookie that a script reads");
    for secret in ["Fe26.", "bbr_", "\"code\""] {
        for heard in [&page["told"], &page["end"]] {
            assert!(!heard.to_string().contains(secret), "{secret} in {heard}");
        }
    }
}

/// A page that is told nothing, and whose calls the browser does not answer.
fn gets_nothing(stranger: &Value) {
    assert_eq!(stranger["told"], json!([]), "its listener heard nothing");
    for call in ["end", "session", "call"] {
        assert_eq!(stranger[call], json!({"error": "TypeError"}), "{call}: kept from it by the browser");
    }
}

/// Row A-036 with a server whose pages leave the window and the app's page together.
#[tokio::test]
async fn real_window_tells_exactly_the_page_that_the_server_lists() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open(NetworkOptions::default().env("KEEP_OPENERS", "1")).await;
    let (base, did) = (house.server.base_url(), house.alice.did.clone());
    let seen = house.network.drive_window(&base, house.listed, &pictures_folder(), &house.alice).await;
    looks_right(&seen);

    // The app: told once, by the server's origin; signed in by its cookie, which the API takes.
    assert_eq!((&seen["before"]["session"]["status"], &seen["before"]["call"]["status"]), (&json!(401), &json!(401)));
    assert_eq!(seen["before"]["end"]["status"], 204);
    let app = &seen["app"];
    holds_no_secret(app);
    let told = app["told"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["origin"], base.as_str());
    let data = told[0]["data"].as_object().unwrap();
    let names: Vec<&String> = data.keys().collect();
    assert_eq!(names, ["did", "handle", "success", "timestamp", "type"]);
    assert_eq!((&data["type"], &data["success"]), (&json!("oauth-callback"), &json!(true)));
    assert_eq!((&data["did"], &data["handle"]), (&json!(did), &json!("alice.test")));
    assert_eq!((&app["session"]["status"], &app["session"]["body"]["did"]), (&json!(200), &json!(did)));
    assert_eq!((&app["call"]["status"], &app["call"]["body"]["did"]), (&json!(200), &json!(did)));

    // A person who says no: the app hears that, and has no session.
    let refused = &seen["refused"];
    assert_eq!(refused["told"][0]["data"]["error"], "access_denied", "{refused}");
    assert_eq!((&refused["told"][0]["data"]["success"], &refused["session"]["status"]), (&json!(false), &json!(401)));
    assert_eq!((&refused["opener"], &refused["closes"]), (&json!(true), &json!(1)), "told, it closes");

    // The stranger had the window in its hand, and the person signed in: the browser itself refused the message.
    let stranger = &seen["stranger"];
    assert!(stranger["text"].as_str().unwrap().contains("You are signed in"), "{stranger}");
    assert_eq!(
        (&stranger["opener"], &stranger["notForUs"]),
        (&json!(true), &json!(1)),
        "it was sent, to another origin"
    );
    gets_nothing(stranger);
    assert!(seen["notListed"].as_str().unwrap().contains("is not told to a page of that origin"));
    assert_eq!(seen["sameOrigin"]["did"], did);
    let log = house.server.stderr().text();
    assert!(!log.contains("panicked") && !log.contains("Fe26."), "{log}");
}

/// The same with the PDS as it is published, whose pages cut the window off: the app finds its session, and what nobody can
/// tell it stays on the screen.
#[tokio::test]
async fn real_window_that_was_cut_off_leaves_the_session_and_shows_a_refusal() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open(NetworkOptions::default()).await;
    let (base, did) = (house.server.base_url(), house.alice.did.clone());
    let pictures = pictures_folder().join("cut-off");
    let seen = house.network.drive_window(&base, house.listed, &pictures, &house.alice).await;
    looks_right(&seen);
    let app = &seen["app"];
    holds_no_secret(app);
    assert_eq!((&app["session"]["status"], &app["session"]["body"]["did"]), (&json!(200), &json!(did)));
    assert_eq!((&app["call"]["status"], &app["call"]["body"]["did"]), (&json!(200), &json!(did)));
    // What no window told it, it asks for.
    assert_eq!((&app["told"], &app["end"]["body"]["did"]), (&json!([]), &json!(did)));
    let refused = &seen["refused"];
    assert_eq!((&refused["opener"], &refused["told"]), (&json!(false), &json!([])), "else this test is of no use");
    assert_eq!(refused["end"]["body"]["error"], "access_denied", "{refused}");
    assert_eq!(refused["closes"], 0, "the reason stays to be read");
    assert!(refused["text"].as_str().unwrap().contains("You did not allow the access"), "{refused}");
    assert_eq!(seen["signedIn"]["closes"], 1, "a success closes");
    gets_nothing(&seen["stranger"]);
    assert_eq!(seen["sameOrigin"]["did"], did, "one origin needs no message");
}

/// Row 64: an app began by itself, so that a page names it and the account before anything goes there.
#[tokio::test]
async fn real_page_that_names_the_app_and_the_account_goes_on_when_told() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open(NetworkOptions::default()).await;
    let body = json!({"handle": "alice.test", "code_challenge": CHALLENGE, "code_challenge_method": "S256"});
    let page = house.begin("/api/auth/start", &body).await;
    let seen = house.drive_continue(&page, "continue", true).await;
    looks_right(&seen);
    for text in ["Go on in Anchor?", "alice.test", "Open Anchor", "This was not me"] {
        assert!(seen["text"].as_str().unwrap().contains(text), "{}", seen["text"]);
    }
    assert_eq!(seen["openedByItself"], 0, "nothing went to the app before the person said so");
    assert_eq!(seen["cookies"], json!([]), "the browser that was lent is not signed in");
    assert_eq!(seen["opened"], json!([seen["link"]]), "one press, one address");
    let link = Url::parse(seen["link"].as_str().unwrap()).unwrap();
    assert_eq!((link.scheme(), link.host_str(), link.query_pairs().count()), ("app", Some("auth-callback"), 1));
    let code = pair(&link, "code").unwrap();
    let tokens = house.post("/api/auth/tokens", &json!({"code": code, "code_verifier": VERIFIER})).await;
    assert_eq!(tokens.expect_status(200).json()["did"], house.alice.did.as_str());
    assert!(!house.server.stderr().text().contains(&code), "not in the log");
}

/// The same, and the person did not begin it: nothing is handed over, and the grant is given back.
#[tokio::test]
async fn real_page_that_names_the_app_takes_everything_back_when_declined() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let house = House::open(NetworkOptions::default()).await;
    let right = json!({"handle": "alice.test", "code_challenge": CHALLENGE, "code_challenge_method": "S256"});
    let page = house.begin("/api/auth/start", &right).await;
    let seen = house.drive_continue(&page, "declined", false).await;
    looks_right(&seen);
    assert_eq!(seen["opened"], json!([]), "the browser was sent to no app");
    assert!(seen["declined"].as_str().unwrap().contains("Nobody was signed in to Anchor"), "{seen}");
    let code = pair(&Url::parse(seen["link"].as_str().unwrap()).unwrap(), "code").unwrap();
    // Whoever began it has the verifier, and even with the code it has nothing.
    let answer = house.post("/api/auth/tokens", &json!({"code": code, "code_verifier": VERIFIER})).await;
    assert_eq!((answer.status, answer.header("bowerbird-error")), (400, Some("code_invalid")));
    house.network.await_grants(&house.alice.did, 0).await;

    // By the older contract, where the page holds the session itself.
    let older = json!({"handle": "alice.test", "code_challenge": CHALLENGE});
    let page = house.begin("/api/auth/mobile-start", &older).await;
    let seen = house.drive_continue(&page, "declined-older", false).await;
    looks_right(&seen);
    assert_eq!(seen["opened"], json!([]));
    let seal = pair(&Url::parse(seen["link"].as_str().unwrap()).unwrap(), "session_token").unwrap();
    let session = TestRequest::get(&house.server.url("/api/auth/session")).header("cookie", &format!("sid={seal}"));
    assert_eq!(house.server.client().send(session).await.status, 401, "the session is over");
    house.network.await_grants(&house.alice.did, 0).await;
}
