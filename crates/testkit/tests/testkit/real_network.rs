//! The launcher of the real network, and the claim that the fault servers behave like it.

use crate::hand_client::{HandClient, REDIRECT_URI, Tokens};
use bowerbird_testkit::fault::{FaultNetwork, endpoint};
use bowerbird_testkit::http_client::{Answer, TestClient, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealNetwork, ServerFault};
use serde_json::Value;

async fn real() -> Option<RealNetwork> {
    if !RealNetwork::available() {
        return None;
    }
    Some(RealNetwork::start(NetworkOptions::default()).await)
}

/// The hand-made client, at the real server.
async fn client_of(network: &RealNetwork) -> HandClient {
    let fault = FaultNetwork::start().await;
    HandClient { issuer: network.issuer().to_owned(), ..HandClient::public(&fault) }
}

async fn log_in(client: &mut HandClient, network: &RealNetwork, handle: &str) -> Tokens {
    let page = client.push(handle).await;
    let callback = network.browser().approve(&page, network.account(handle)).await;
    let callback = url::Url::parse(&callback).unwrap();
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    client.exchange(&code).await.expect_status(200).json().into()
}

#[tokio::test]
async fn a_login_a_call_a_refresh_and_a_fault() {
    let Some(network) = real().await else { return };
    let mut client = client_of(&network).await;
    let first = log_in(&mut client, &network, "alice.test").await;
    assert_eq!(first.whole["sub"], network.account("alice.test").did.as_str());
    let session = format!("{}/xrpc/com.atproto.server.getSession", network.pds());
    assert_eq!(client.call(&session, &first.access).await.expect_status(200).json()["handle"], "alice.test");
    network.fault(endpoint::TOKEN, ServerFault::Status(503), 1).await;
    let _refused = client.refresh(&first.refresh).await.expect_status(503);
    let _second: Tokens = client.refresh(&first.refresh).await.expect_status(200).json().into();
    assert_eq!(network.grants(&network.account("alice.test").did).await.len(), 1);
    assert!(network.log(endpoint::TOKEN).await.len() >= 3);
    let page = client.push("bob.test").await;
    let denied = network.browser().deny(&page, network.account("bob.test")).await;
    assert!(denied.contains("error=access_denied"), "{denied}");
}

#[tokio::test]
async fn a_second_pds_shares_the_plc() {
    let Some(network) = real().await else { return };
    let options = NetworkOptions::default().accounts(&["dan.two.test:dan-pass"]).joining(&network, ".two.test");
    let second = RealNetwork::start(options).await;
    assert_ne!(network.pds(), second.pds());
    let document =
        TestClient::new().get(&format!("{}/{}", network.plc(), second.account("dan.two.test").did)).await.json();
    assert_eq!(document["service"][0]["serviceEndpoint"], second.pds());
}

/// What a server says, with everything that differs between two of them left out.
fn said(answer: &Answer) -> (u16, Value, Vec<String>) {
    let origin = without_ports(&answer.text());
    let body = serde_json::from_str(&origin).unwrap_or(Value::String(origin));
    let telling = ["www-authenticate", "cache-control", "access-control-allow-origin"];
    let mut headers: Vec<String> =
        telling.iter().filter_map(|name| Some(format!("{name}: {}", answer.header(name)?))).collect();
    headers.push(format!("nonce: {}", answer.header("dpop-nonce").is_some()));
    (answer.status, body, headers)
}

/// `http://localhost:PORT` without the port.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("http://localhost:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + "http://localhost" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn the_fault_servers_speak_as_the_real_ones() {
    let Some(network) = real().await else { return };
    let fault = FaultNetwork::start().await;
    fault.add_account("alice.test");
    let mut real_client = client_of(&network).await;
    let mut fault_client = HandClient::public(&fault);
    let real_tokens = log_in(&mut real_client, &network, "alice.test").await;
    let fault_tokens = fault_client.log_in("alice.test").await;

    for path in [endpoint::AUTHORIZATION_SERVER, endpoint::PROTECTED_RESOURCE] {
        let answers = (
            TestClient::new().get(&format!("{}{path}", network.pds())).await,
            TestClient::new().get(&fault.pds().server().url(path)).await,
        );
        assert_eq!(answers.0.status, answers.1.status);
        let (real, fault): (Value, Value) = (said(&answers.0).1, said(&answers.1).1);
        assert_eq!(real, fault, "{path}");
    }
    let unauthenticated = [
        "/xrpc/com.atproto.identity.resolveHandle?handle=nobody.test",
        "/xrpc/com.atproto.server.getSession",
        "/xrpc/app.example.unknown",
    ];
    for path in unauthenticated {
        let real = TestClient::new().get(&format!("{}{path}", network.pds())).await;
        let fault = TestClient::new().get(&fault.pds().server().url(path)).await;
        assert_eq!((real.status, real.json()), (fault.status, fault.json()), "{path}");
    }
    let client_id = real_client.client_id.clone();
    let forms: [(&str, Vec<(&str, &str)>); 3] = [
        (endpoint::TOKEN, vec![("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", &client_id)]),
        (
            endpoint::PAR,
            vec![
                ("client_id", &client_id),
                ("response_type", "code"),
                ("scope", "atproto"),
                ("redirect_uri", REDIRECT_URI),
            ],
        ),
        (endpoint::REVOKE, vec![("token", "x"), ("client_id", &client_id)]),
    ];
    for (path, form) in forms {
        let real = TestClient::new().send(TestRequest::post_form(&format!("{}{path}", network.issuer()), &form)).await;
        let fault = TestClient::new()
            .send(TestRequest::post_form(&fault.authorization_server().server().url(path), &form))
            .await;
        assert_eq!(said(&real), said(&fault), "{path}");
    }

    // With a proof: no nonce, a bad key, a spent refresh token, a dead access token.
    let session = "/xrpc/com.atproto.server.getSession";
    let mut compared = Vec::new();
    for (client, base, tokens) in [
        (&mut real_client, network.pds().to_owned(), &real_tokens),
        (&mut fault_client, fault.pds().origin().to_owned(), &fault_tokens),
    ] {
        let url = format!("{base}{session}");
        client.nonce = None;
        let challenged = said(&client.call_once(&url, &tokens.access).await);
        client.nonce = None;
        let asked = client
            .post_once(endpoint::TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh)])
            .await;
        let asked = said(&asked.unwrap());
        let wrong_key =
            std::mem::replace(&mut client.key, bowerbird_oauth::SigningKey::from_scalar(&[77; 32]).unwrap());
        let stolen = said(&client.call(&url, &tokens.access).await);
        client.key = wrong_key;
        let bearer = TestRequest::get(&url).header("authorization", &format!("Bearer {}", tokens.access));
        let bearer = said(&TestClient::new().send(bearer).await);
        let _fresh = client.refresh(&tokens.refresh).await.expect_status(200);
        let dead = said(&client.call(&url, &tokens.access).await);
        let replayed = said(&client.refresh(&tokens.refresh).await);
        compared.push([challenged, asked, stolen, bearer, dead, replayed]);
    }
    for (real, fault) in compared[0].iter().zip(&compared[1]) {
        assert_eq!(real, fault);
    }
}

#[tokio::test]
async fn chromium_consents_and_rejects() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let mut client = client_of(&network).await;
    let alice = network.account("alice.test").clone();
    let page = client.push("alice.test").await;
    let pictures = tempfile::tempdir().unwrap();
    let back = network.chromium().with_pictures(pictures.path()).approve(&page, &alice).await;
    assert!(back.starts_with(REDIRECT_URI) && back.contains("code="), "{back}");
    assert!(std::fs::read_dir(pictures.path()).unwrap().count() >= 3);
    let page = client.push("alice.test").await;
    let back = network.chromium().deny(&page, &alice).await;
    assert!(back.contains("error=access_denied"), "{back}");
}
