//! Who is told when an access ends: one webhook, signed, that outlives a restart; the device's own event stream; the
//! metrics. And who is not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowerbird_testkit::actors::Follower;
use bowerbird_testkit::fault::{FaultNetwork, FaultServer, Misbehave, RecordedRequest, Reply};
use bowerbird_testkit::http_client::{Answer, TestClient, TestRequest};
use bowerbird_testkit::server::ServerOptions;
use bowerbird_testkit::sweep::Sweep;
use ring::hmac;
use serde_json::Value;

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const HOOK: &str = "/hook";
const KEY: [u8; 33] = *b"the key of the webhooks' receiver";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Nothing more comes within this.
const QUIET: Duration = Duration::from_millis(1500);

fn wired(network: &FaultNetwork, receiver: &FaultServer, admin: SocketAddr) -> ServerOptions {
    options(network)
        .env("BOWERBIRD_EGRESS_ALLOW", &format!("{},{}", network.egress_allow(), receiver.host_and_port()))
        .env("BOWERBIRD_WEBHOOK_URL", &receiver.url(HOOK))
        .env("BOWERBIRD_WEBHOOK_SECRET", &format!("whsec_{}", STANDARD.encode(KEY)))
        .env("BOWERBIRD_ADMIN_LISTEN", &admin.to_string())
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

async fn metrics(admin: SocketAddr) -> String {
    let answer = TestClient::new().get(&format!("http://{admin}/metrics")).await.expect_status(200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    answer.text()
}

fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

/// Checks the signature as a receiver does that has read the specification and nothing of ours.
fn verified(request: &RecordedRequest) -> Value {
    let (id, seconds) = (request.header("webhook-id").unwrap(), request.header("webhook-timestamp").unwrap());
    let age = request.at_millis / 1000 - seconds.parse::<i64>().unwrap();
    assert!((-5..=5).contains(&age), "{age}");
    let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", &request.body].concat();
    let signature = request.header("webhook-signature").unwrap().strip_prefix("v1,").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).expect("the signature is good");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body = request.json();
    assert_eq!(id, format!("evt_{}", body["id"].as_str().unwrap()));
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_ends_is_told_once_and_through_a_restart_to_those_it_concerns() {
    let network = FaultNetwork::start().await;
    let (receiver, admin) = (FaultServer::receiving(), free_address());
    let options = wired(&network, &receiver, admin);
    let mut house = House::with(network, options).await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut browser = house.signed_in(&alice).await;
    let (alices, bobs) = (browser.seal().unwrap(), house.signed_in(&bob).await.seal().unwrap());
    let (of_alice, of_bob) = (Follower::of(&house.server, &alices).await, Follower::of(&house.server, &bobs).await);
    let operator = Follower::open(admin, &admin.to_string(), "/events", "").await;
    assert_eq!(figure(&metrics(admin).await, "bowerbird_event_streams"), 3);

    // The receiver is in trouble when it matters.
    let trouble = Misbehave::Instead(Reply::empty(503).with("Retry-After", "1"));
    receiver.misbehave_times(HOOK, 2, trouble);
    house.network.authorization_server().revoke_all_of(&alice.did);
    let app = house.server.app(&alices);
    for _ in 0..5 {
        app.get(SESSION).await.must_be(401);
    }
    house.until("the app hears of it", || of_alice.count("needs_reauth") == 1).await;
    house.until("the operator hears of it", || operator.count("needs_reauth") == 1).await;
    house.until("the first webhook", || receiver.count(HOOK) == 1).await;
    let text = metrics(admin).await;
    assert_eq!(figure(&text, "bowerbird_refreshes_total{result=\"refused\"}"), 1);
    assert_eq!(figure(&text, "bowerbird_events_total{type=\"needs_reauth\"}"), 1);
    assert!(figure(&text, "bowerbird_dpop_nonce_retries_total") > 0, "logins cost nonces here");
    assert!(figure(&text, "bowerbird_refresh_duration_seconds_count") >= 1);
    assert!(figure(&text, "bowerbird_checkout_duration_seconds_count") >= 1);

    // The verdict on the first attempt is stored; then the server dies.
    house.until("the second attempt is due", || house.server.stderr().text().contains("is tried again")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.server.kill();
    house.server.restart().await;
    house.until("the webhook is taken", || receiver.count(HOOK) == 3).await;
    house.server.app(&alices).get(SESSION).await.must_be(401);
    tokio::time::sleep(QUIET).await;
    let attempts = receiver.log().at(HOOK);
    assert_eq!(attempts.len(), 3, "two failures, one success, no repeat");
    let bodies: Vec<Value> = attempts.iter().map(verified).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "every attempt says the same");
    let body = &bodies[0];
    assert_eq!((body["type"].as_str(), body["reason"].as_str()), (Some("needs_reauth"), Some("revoked")));
    assert_eq!((body["did"].as_str(), body["handle"].as_str()), (Some(&*alice.did), Some("alice.test")));
    let account = body["accountId"].as_str().unwrap();
    assert_eq!(body["repairUrl"], house.server.url(&format!("/login/repair/{account}")));
    assert!(body["occurredAt"].as_str().unwrap().ends_with('Z'));

    assert_eq!((of_alice.count("needs_reauth"), of_bob.count("needs_reauth")), (1, 0));
    assert!(!of_bob.text().contains(account) && of_bob.count("missed") == 0, "{}", of_bob.text());

    // Repaired: one recovery, and the incident can happen anew.
    let (again, of_bob) = (Follower::of(&house.server, &alices).await, Follower::of(&house.server, &bobs).await);
    house.add(&mut browser, &alice).await;
    house.until("the recovery is told", || receiver.count(HOOK) == 4).await;
    assert_eq!(verified(&receiver.log().at(HOOK)[3])["type"], "recovered");
    house.until("the old session's stream ends", || again.has_ended()).await;
    let alices = browser.seal().unwrap();
    house.network.authorization_server().revoke_all_of(&alice.did);
    house.server.app(&alices).get(SESSION).await.must_be(401);
    house.until("it is told anew", || receiver.count(HOOK) == 5).await;
    assert_eq!(verified(&receiver.log().at(HOOK)[4])["type"], "needs_reauth");
    tokio::time::sleep(QUIET).await;
    assert_eq!(receiver.count(HOOK), 5);
    assert!(!of_bob.text().contains(account));

    let told: Vec<u8> = receiver.log().at(HOOK).iter().flat_map(|request| request.transcript().into_bytes()).collect();
    let text = metrics(admin).await;
    for person in [&alice, &bob] {
        assert!(!text.contains(&person.did) && !text.contains(&person.handle) && !text.contains(account), "{text}");
        assert!(!text.contains("localhost"), "no host of anybody's server");
    }
    let canaries = house.network.canaries();
    let mut secrets: Vec<&[u8]> = canaries.iter().map(|canary| canary.value.as_bytes()).collect();
    secrets.extend([alices.as_bytes(), bobs.as_bytes(), &KEY]);
    assert!(secrets.len() > 10);
    Sweep::new(secrets)
        .bytes("metrics", text.as_bytes())
        .bytes("webhooks", &told)
        .bytes("alice's stream", of_alice.text().as_bytes())
        .bytes("the operator's stream", operator.text().as_bytes())
        .bytes("log", house.server.stderr().text().as_bytes())
        .assert_clean();

    // An orderly stop ends the streams instead of waiting for them.
    let status = house.server.terminate(Duration::from_secs(5)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    house.until("the stream ends", || of_bob.has_ended()).await;
    house.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_session_and_a_session_has_a_few_only() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    let mut followers = Vec::new();
    for _ in 0..8 {
        followers.push(Follower::of(&house.server, &seal).await);
    }
    let app = house.server.app(&seal);
    app.get("/api/events").await.must_refuse(429, "too_many_streams");
    app.post("/api/auth/logout", &serde_json::json!({})).await.must_be(200);
    house.until("the streams end", || followers.iter().all(Follower::has_ended)).await;
    app.get("/api/events").await.must_be(401);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_says_nothing_to_strangers() {
    let network = FaultNetwork::start().await;
    let (receiver, admin) = (FaultServer::receiving(), free_address());
    let open = wired(&network, &receiver, admin);
    let mut house = House::with(network, open.clone()).await;
    let ask = async |path: &str, headers: &[(&str, &str)]| -> Answer {
        let request = TestRequest::get(&format!("http://{admin}{path}"));
        TestClient::new().send(headers.iter().fold(request, |request, (name, value)| request.header(name, value))).await
    };
    // Under a name that somebody else's DNS gives us.
    assert_eq!(ask("/metrics", &[("host", "evil.example")]).await.status, 421);
    assert_eq!(ask("/events", &[("host", "evil.example")]).await.status, 421);
    for path in ["/health", "/ready"] {
        assert_eq!(ask(path, &[("host", "probe.internal")]).await.status, 200);
    }
    assert_eq!(ask("/api/accounts", &[]).await.status, 404, "none of the public routes is here");
    house.server.client().get(&house.server.url("/metrics")).await.must_be(404);

    house.server.restart_with(open.env("BOWERBIRD_ADMIN_TOKEN", TOKEN)).await;
    for wrong in [vec![], vec![("authorization", "Bearer 0123456789abcdef")]] {
        let answer = ask("/metrics", &wrong).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
        assert!(!answer.text().contains("bowerbird_"));
    }
    let bearer = format!("Bearer {TOKEN}");
    let answer = ask("/metrics", &[("authorization", &bearer), ("host", "metrics.internal")]).await;
    assert!(answer.text().contains("bowerbird_build_info"));
    house.assert_alive().await;
}
