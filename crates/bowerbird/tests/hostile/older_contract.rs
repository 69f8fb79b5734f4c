//! An app that is given its session in an address: the operator hears of it in the log, on their page, by API, in the figures
//! and from `bowerbird doctor`, also after a restart; and nobody hears the session.

use std::net::{Ipv4Addr, SocketAddr};

use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::http_client::{Answer, TestClient, TestRequest};
use bowerbird_testkit::sweep::Sweep;
use serde_json::{Value, json};

use crate::support::{House, Must as _, options};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const FIGURE: &str = "bowerbird_older_contract_sign_ins_total{address=\"app://auth-callback\"}";

struct Operator(SocketAddr);

impl Operator {
    async fn get(&self, path: &str) -> Answer {
        TestClient::new().get(&format!("http://{}{path}", self.0)).await.expect_status(200)
    }

    async fn figure(&self) -> String {
        let text = self.get("/metrics").await.text();
        let line = text.lines().find(|line| line.starts_with(FIGURE)).unwrap_or_else(|| panic!("none in {text}"));
        line[FIGURE.len() + 1..].to_owned()
    }

    async fn warnings(&self) -> Value {
        self.get("/warnings").await.json()["warnings"].clone()
    }
}

/// A sign-in of the older contract; the session that the app was given.
async fn sign_in(house: &House) -> String {
    let body = json!({"handle": "alice.test", "code_challenge": CHALLENGE});
    let start = TestRequest::post_json(&house.server.url("/api/auth/mobile-start"), &body);
    let begun = house.server.client().send(start).await.expect_status(200).json();
    let callback = house.server.visitor().authorize(begun["authUrl"].as_str().unwrap()).await;
    let end = house.server.client().get(&callback).await.expect_status(302);
    let link = url::Url::parse(end.location()).unwrap();
    let (name, seal) = link.query_pairs().next().unwrap();
    assert_eq!(name, "session_token");
    seal.into_owned()
}

fn doctor(house: &House) -> Value {
    let output = house.server.command(&["doctor", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == "apps").unwrap_or_else(|| panic!("{said}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_the_older_contract_is_warned_of_until_it_is_mended_and_over_restarts() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let operator = Operator(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap());
    let options = options(&network)
        .env("BOWERBIRD_MOBILE_SCHEME", "app://auth-callback,https://bower.example/app")
        .env("BOWERBIRD_ADMIN_LISTEN", &operator.0.to_string());
    let mut house = House::with(network, options).await;

    // Before anything happened.
    assert_eq!(operator.figure().await, "0", "there to be compared with");
    assert_eq!(operator.warnings().await, json!([]));
    assert!(operator.get("/").await.text().contains("There is nothing to warn of."));
    assert_eq!(doctor(&house)["result"], "ok");

    let seals = [sign_in(&house).await, sign_in(&house).await];
    assert_eq!(operator.figure().await, "2");
    let warnings = operator.warnings().await;
    let warning = &warnings[0];
    assert_eq!((warnings.as_array().unwrap().len(), &warning["code"]), (1, &json!("older_contract")));
    assert_eq!((&warning["address"], &warning["times"]), (&json!("app://auth-callback"), &json!(2)));
    for name in ["firstSeenAt", "lastSeenAt"] {
        assert!(warning[name].as_str().unwrap().ends_with('Z'), "{warning}");
    }
    assert!(warning["hint"].as_str().unwrap().contains("code_challenge_method=S256"));
    let log = house.server.stderr().text();
    assert!(
        log.contains("an app was given its session in its address") && log.contains("app://auth-callback"),
        "{log}"
    );

    // Kept, while the figure of a process begins anew.
    house.server.restart().await;
    assert_eq!(operator.figure().await, "0");
    assert_eq!(operator.warnings().await, warnings);
    let page = operator.get("/").await;
    for text in ["app://auth-callback", "2 times since", "This server is ready.", "BOWERBIRD_MOBILE_HANDOFF=code"] {
        assert!(page.text().contains(text), "no {text} in {}", page.text());
    }
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    let said = doctor(&house);
    assert_eq!(said["result"], "warning", "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("app://auth-callback was given a session in its address 2 times, last on 2"),
        "{detail}"
    );

    let told = [page.text(), operator.get("/metrics").await.text(), warnings.to_string(), said.to_string()].concat();
    let (log, out) = (house.server.stderr().bytes(), house.server.stdout().bytes());
    let sweep = Sweep::new(&seals).bytes("stderr", &log).bytes("stdout", &out).bytes("the operator", told.as_bytes());
    sweep.folder(&house.server.data_dir()).assert_clean();
    assert!(!told.contains("alice.test") && !told.contains("did:"), "nobody is named: {told}");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_and_warnings_need_the_token_where_there_is_one() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let network = FaultNetwork::start().await;
    let admin = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let options =
        options(&network).env("BOWERBIRD_ADMIN_LISTEN", &admin.to_string()).env("BOWERBIRD_ADMIN_TOKEN", TOKEN);
    let _house = House::with(network, options).await;
    for path in ["/", "/warnings"] {
        let url = format!("http://{admin}{path}");
        TestClient::new().get(&url).await.must_be(401);
        let wrong = TestRequest::get(&url).header("authorization", &format!("Bearer {}0", &TOKEN[..31]));
        TestClient::new().send(wrong).await.must_be(401);
        let right = TestRequest::get(&url).header("authorization", &format!("Bearer {TOKEN}"));
        TestClient::new().send(right).await.must_be(200);
    }
}
