//! Each misbehaviour does what it says, and nothing more.

use std::time::{Duration, SystemTime};

use crate::hand_client::{HandClient, Tokens};
use bowerbird_testkit::fault::{FaultNetwork, FaultServer, Misbehave, endpoint};
use bowerbird_testkit::http_client::{TestClient, TestRequest, send_raw};
use serde_json::json;

const REFRESH: &str = "refresh_token";

async fn logged_in() -> (FaultNetwork, HandClient, Tokens) {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    (network, client, tokens)
}

fn refreshing(token: &str) -> [(&'static str, &str); 2] {
    [("grant_type", REFRESH), (REFRESH, token)]
}

#[tokio::test]
async fn a_500_before_processing_does_not_spend_the_token_and_one_after_it_does() {
    let (network, mut client, tokens) = logged_in().await;
    let server = network.authorization_server().server().clone();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::status(500));
    let _refused = client.refresh(&tokens.refresh).await.expect_status(500);
    let next: Tokens = client.refresh(&tokens.refresh).await.expect_status(200).json().into();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::status_after(500));
    let _refused = client.refresh(&next.refresh).await.expect_status(500);
    let spent = client.refresh(&next.refresh).await.expect_status(400);
    assert_eq!(spent.json()["error_description"], "Refresh token replayed");
}

#[tokio::test]
async fn resets_come_before_or_after_the_rotation() {
    let (network, mut client, tokens) = logged_in().await;
    let server = network.authorization_server().server().clone();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::ResetBefore);
    assert!(client.post_once(endpoint::TOKEN, &refreshing(&tokens.refresh)).await.is_err());
    let next: Tokens = client.refresh(&tokens.refresh).await.expect_status(200).json().into();
    server.misbehave_times(endpoint::TOKEN, 1, Misbehave::ResetAfter);
    assert!(client.post_once(endpoint::TOKEN, &refreshing(&next.refresh)).await.is_err());
    let _spent = client.refresh(&next.refresh).await.expect_status(400);
    assert_eq!(network.ledger().replays().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_the_rotation() {
    let (network, mut client, tokens) = logged_in().await;
    network.authorization_server().server().misbehave_times(
        endpoint::TOKEN,
        1,
        Misbehave::DelayBefore(Duration::from_millis(200)),
    );
    let fields = refreshing(&tokens.refresh);
    assert!(tokio::time::timeout(Duration::from_millis(50), client.post_once(endpoint::TOKEN, &fields)).await.is_err());
    tokio::time::sleep(Duration::from_millis(400)).await;
    let spent = client.refresh(&tokens.refresh).await.expect_status(400);
    assert_eq!(spent.json()["error_description"], "Refresh token replayed");
}

#[tokio::test]
async fn a_server_can_hang() {
    let (network, mut client, tokens) = logged_in().await;
    network.authorization_server().server().misbehave_times(endpoint::TOKEN, 1, Misbehave::HangBefore);
    let fields = refreshing(&tokens.refresh);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.post_once(endpoint::TOKEN, &fields)).await.is_err()
    );
    let _fresh = client.refresh(&tokens.refresh).await.expect_status(200);
}

#[tokio::test]
async fn nonce_challenges_never_end_and_differ_each_time() {
    let (network, mut client, tokens) = logged_in().await;
    network.pds().server().misbehave(endpoint::ANY, Misbehave::ChallengeNonce);
    let session = network.pds().server().url("/xrpc/com.atproto.server.getSession");
    let first = client.call_once(&session, &tokens.access).await.expect_status(401);
    let second = client.call_once(&session, &tokens.access).await.expect_status(401);
    assert_ne!(first.header("dpop-nonce"), second.header("dpop-nonce"));
    assert!(first.header("www-authenticate").unwrap().contains("use_dpop_nonce"));
    let issuer = client.post_once(endpoint::TOKEN, &refreshing(&tokens.refresh)).await.unwrap().expect_status(400);
    assert_eq!(issuer.json()["error"], "use_dpop_nonce");
    network.pds().server().behave();
    let _fresh = client.refresh(&tokens.refresh).await.expect_status(200);
}

#[tokio::test]
async fn token_answers_are_bent_as_told() {
    let (network, mut client, mut tokens) = logged_in().await;
    let server = network.authorization_server().server().clone();
    for (patch, member) in [
        (json!({"sub": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}), "sub"),
        (json!({"scope": "transition:generic"}), "scope"),
        (json!({"token_type": "Bearer"}), "token_type"),
        (json!({"expires_in": -1}), "expires_in"),
        (json!({"expires_in": 1e18}), "expires_in"),
        (json!({"refresh_token": null}), "refresh_token"),
        (json!({"sub": null}), "sub"),
        (json!({"access_token": "x".repeat(1_000_000)}), "access_token"),
    ] {
        server.misbehave_times(endpoint::TOKEN, 1, Misbehave::merge(patch.clone()));
        let answer =
            client.post_once(endpoint::TOKEN, &refreshing(&tokens.refresh)).await.unwrap().expect_status(200).json();
        assert_eq!(answer.get(member).unwrap_or(&json!(null)), &patch[member]);
        // The bent answer took effect; the test reads the true successor from the ledger.
        let minted = network.canaries();
        let successor = minted.iter().rfind(|canary| canary.value.starts_with("CANARY-RT-")).unwrap();
        tokens.refresh.clone_from(&successor.value);
    }
    network.ledger().assert_no_replays();
}

#[tokio::test]
async fn metadata_is_bent_as_told() {
    let network = FaultNetwork::start().await;
    let server = network.authorization_server().server().clone();
    let (client, url) = (TestClient::new(), server.url(endpoint::AUTHORIZATION_SERVER));
    let with = async |what: Misbehave| {
        server.behave();
        server.misbehave(endpoint::AUTHORIZATION_SERVER, what);
        client.get(&url).await
    };
    assert_eq!(
        with(Misbehave::merge(json!({"issuer": "https://evil.example"}))).await.json()["issuer"],
        "https://evil.example"
    );
    assert_eq!(with(Misbehave::redirect(302, "http://localhost:1/")).await.location(), "http://localhost:1/");
    assert_eq!(with(Misbehave::html()).await.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(with(Misbehave::deep_json(10_000)).await.body.len(), 20_000);
    let doubled = with(Misbehave::duplicate_key("issuer", &json!("https://evil.example"))).await;
    assert_eq!(doubled.text().matches("\"issuer\":").count(), 2);
    assert_eq!(doubled.json()["issuer"], server.origin(), "the last one wins in this parser");
    let limited = with(Misbehave::too_many_requests("soon")).await.expect_status(429);
    assert_eq!(limited.header("retry-after"), Some("soon"));
    assert_eq!(with(Misbehave::header("Content-Type", "text/plain")).await.header_all("content-type"), ["text/plain"]);
    assert_eq!(with(Misbehave::endless_body(1_000_000)).await.body.len(), 62 * 16 * 1024);
    server.behave();
    server.misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::truncate(10));
    assert!(client.try_send(TestRequest::get(&url)).await.is_err(), "fewer bytes than announced");
}

#[tokio::test]
async fn headers_that_http_forbids_reach_the_wire() {
    let network = FaultNetwork::start().await;
    let server = network.authorization_server().server().clone();
    server.misbehave(endpoint::PAR, Misbehave::header("DPoP-Nonce", "abc\r\nX-Injected: 1\0\x01"));
    let request =
        format!("POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", endpoint::PAR, server.host_and_port());
    let wait = Duration::from_secs(2);
    let answer = send_raw(server.address(), &[request.as_bytes()], Duration::ZERO, wait).await.unwrap();
    assert!(answer.text().contains("DPoP-Nonce: abc\r\nX-Injected: 1\0\x01\r\n"), "{}", answer.text());
    assert!(answer.closed);
    server.behave();
    server.misbehave(endpoint::PAR, Misbehave::header("DPoP-Nonce", "n".repeat(10_000)));
    let long = TestClient::new().send(TestRequest::post_form(&server.url(endpoint::PAR), &[])).await;
    assert_eq!(long.header("dpop-nonce").unwrap().len(), 10_000);
}

#[tokio::test]
async fn redirects_are_bent_as_told() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let server = network.authorization_server().server().clone();
    let mut client = HandClient::public(&network);
    server.misbehave_times(endpoint::AUTHORIZE, 1, Misbehave::redirect_without("iss"));
    assert!(!client.callback("alice.test").await.contains_key("iss"));
    server.misbehave_times(endpoint::AUTHORIZE, 1, Misbehave::redirect_with("iss", "https://evil.example"));
    assert_eq!(client.callback("alice.test").await["iss"], "https://evil.example");
    server.misbehave_times(endpoint::AUTHORIZE, 1, Misbehave::redirect_with("error", "server_error"));
    let both = client.callback("alice.test").await;
    assert!(both.contains_key("error") && both.contains_key("code"));
}

#[tokio::test]
async fn slow_bodies_are_slow_and_a_server_can_be_down() {
    let network = FaultNetwork::start().await;
    let server = network.plc().server().clone();
    let alice = network.add_account("alice.test");
    server.misbehave_times("/did:*", 1, Misbehave::drip(100, Duration::from_millis(50)));
    let (client, url, begun) =
        (TestClient::new(), server.url(&format!("/{}", alice.did)), SystemTime::UNIX_EPOCH.elapsed().unwrap());
    assert_eq!(client.get(&url).await.json()["id"], alice.did.as_str());
    assert!(SystemTime::UNIX_EPOCH.elapsed().unwrap() > begun + Duration::from_millis(200));
    server.go_down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(client.try_send(TestRequest::get(&url)).await.is_err());
    server.come_back().await;
    let _back = client.get(&url).await.expect_status(200);
}

#[tokio::test]
async fn identities_can_be_bent() {
    let network = FaultNetwork::start().await;
    let (alice, bob) = (network.add_account("alice.test"), network.add_account("bob.test"));
    let (second, issuer) = network.add_self_hosted();
    let client = TestClient::new();
    let plc = network.plc().server().clone();
    let home = async |did: &str| {
        client.get(&plc.url(&format!("/{did}"))).await.json()["service"][0]["serviceEndpoint"].clone()
    };
    assert_eq!(home(&alice.did).await, network.pds().origin());
    network.move_account(&alice.did, &second);
    assert_eq!(home(&alice.did).await, second.origin());
    assert_eq!(second.origin(), issuer.issuer());
    network.point_handle_to("bob.test", &alice.did);
    let resolved =
        client.get(&network.pds().server().url("/xrpc/com.atproto.identity.resolveHandle?handle=bob.test")).await;
    assert_eq!(resolved.json()["did"], alice.did.as_str());
    let by_host = TestRequest::get(&network.handle_server().url(endpoint::ATPROTO_DID)).header("host", "alice.test");
    assert_eq!(client.send(by_host).await.text(), alice.did);
    network.plc().set_document(&bob.did, Some(json!({"id": "did:plc:other"})));
    assert_eq!(client.get(&plc.url(&format!("/{}", bob.did))).await.json()["id"], "did:plc:other");
    let web = network.add_web_account("web.test");
    let document = client.get(&network.handle_server().url("/.well-known/did.json")).await.json();
    assert_eq!(document["id"], web.did.as_str());
}

#[tokio::test]
async fn the_canary_listener_notices_a_call() {
    let network = FaultNetwork::start().await;
    network.canary().assert_untouched();
    let _answer =
        send_raw(network.canary().address(), &[b"hello"], Duration::ZERO, Duration::from_millis(100)).await.unwrap();
    assert_eq!(network.canary().connections(), 1);
    assert_eq!(network.canary().received(), b"hello");
    assert!(!network.egress_allow().contains(&network.canary().address().port().to_string()));
}

#[tokio::test]
async fn a_front_passes_requests_on_under_the_public_host() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let front = FaultServer::forwarding(network.handle_server().address(), "alice.test");
    assert_eq!(TestClient::new().get(&front.url(endpoint::ATPROTO_DID)).await.text(), alice.did);
    assert_eq!(network.handle_server().log().last(endpoint::ATPROTO_DID).unwrap().header("host"), Some("alice.test"));
    front.misbehave(endpoint::ANY, Misbehave::status(503));
    let _down = TestClient::new().get(&front.url("/")).await.expect_status(503);
}
