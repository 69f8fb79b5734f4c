//! The fault authorization server and PDS behave like the real ones while nobody tells them not to.

use crate::hand_client::{HandClient, REDIRECT_URI, Tokens};
use bowerbird_testkit::fault::{CanaryKind, Decision, FaultNetwork, Verdict, endpoint};
use serde_json::json;

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

fn panics(check: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
}

#[tokio::test]
async fn a_public_client_logs_in_calls_refreshes_and_revokes() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let callback = client.callback("alice.test").await;
    assert_eq!(callback["state"], "st4te");
    assert_eq!(callback["iss"], client.issuer);
    let first: Tokens = client.exchange(&callback["code"]).await.expect_status(200).json().into();
    assert_eq!(first.whole["sub"], alice.did.as_str());
    assert_eq!(first.whole["expires_in"], 3599);
    assert_eq!(first.whole["token_type"], "DPoP");
    let session = network.pds().server().url(SESSION);
    let answer = client.call(&session, &first.access).await.expect_status(200);
    assert_eq!(answer.json()["handle"], "alice.test");
    assert!(answer.header("dpop-nonce").is_some());

    let second: Tokens = client.refresh(&first.refresh).await.expect_status(200).json().into();
    let old = client.call(&session, &first.access).await.expect_status(401);
    assert_eq!(old.json(), json!({"error": "invalid_token", "message": "Invalid token"}));
    assert!(
        old.header("www-authenticate").unwrap().contains(r#"error="invalid_token", error_description="Invalid token""#)
    );
    let _ok = client.call(&session, &second.access).await.expect_status(200);

    let _ok = client.post("/oauth/revoke", &[("token", &second.refresh)]).await.expect_status(200);
    let _dead = client.call(&session, &second.access).await.expect_status(401);
    assert_eq!(network.authorization_server().live_grants(&alice.did), 0);
    network.assert_clean();
    assert_eq!(network.ledger().minted(CanaryKind::RefreshToken), 2);
}

#[tokio::test]
async fn a_confidential_client_needs_its_key_at_every_step() {
    let network = FaultNetwork::start_with_entryway().await;
    network.add_account("alice.test");
    let mut client = HandClient::confidential(&network);
    let first = client.log_in("alice.test").await;
    let second: Tokens = client.refresh(&first.refresh).await.expect_status(200).json().into();
    // A stateless authorization server's old access token lives on.
    let session = network.pds().server().url(SESSION);
    client.nonce = None;
    let _alive = client.call(&session, &first.access).await.expect_status(200);
    // Another key kills the grant, as measured.
    client.client_key = None;
    client.nonce = None;
    let refused = client.refresh(&second.refresh).await.expect_status(400);
    assert_eq!(refused.json()["error"], "invalid_client");
    let key = bowerbird_oauth::SigningKey::from_scalar(&[12; 32]).unwrap().with_kid("k1");
    client.client_key = Some(key);
    let _alive = client.refresh(&second.refresh).await.expect_status(200);
}

#[tokio::test]
async fn a_replay_ends_the_grant_and_the_ledger_notices() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let first = client.log_in("alice.test").await;
    let second: Tokens = client.refresh(&first.refresh).await.expect_status(200).json().into();
    network.ledger().assert_no_replays();
    let replayed = client.refresh(&first.refresh).await.expect_status(400);
    assert_eq!(replayed.json()["error_description"], "Refresh token replayed");
    let dead = client.refresh(&second.refresh).await.expect_status(400);
    assert_eq!(dead.json()["error_description"], "Invalid refresh token");
    assert_eq!(network.authorization_server().live_grants(&alice.did), 0);
    assert_eq!(network.ledger().replays().len(), 1);
    assert!(panics(|| network.ledger().assert_no_replays()));
    let verdicts: Vec<Verdict> =
        network.ledger().presented(CanaryKind::RefreshToken).iter().map(|p| p.verdict).collect();
    assert_eq!(verdicts, [Verdict::Accepted, Verdict::Replayed, Verdict::Dead]);
}

#[tokio::test]
async fn a_code_is_good_once_and_its_replay_ends_the_grant() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let code = client.callback("alice.test").await["code"].clone();
    let _tokens = client.exchange(&code).await.expect_status(200);
    assert_eq!(network.authorization_server().live_grants(&alice.did), 1);
    let again = client.exchange(&code).await.expect_status(400);
    assert_eq!(again.json()["error_description"], "Invalid code");
    assert_eq!(network.authorization_server().live_grants(&alice.did), 0);
    assert_eq!(network.ledger().replays().len(), 1);
}

#[tokio::test]
async fn a_wrong_verifier_spends_the_code() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let code = client.callback("alice.test").await["code"].clone();
    let wrong = "w".repeat(43);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", wrong.as_str()),
    ];
    let _refused = client.post("/oauth/token", &fields).await.expect_status(400);
    let _spent = client.exchange(&code).await.expect_status(400);
}

#[tokio::test]
async fn proofs_are_checked_one_by_one() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    let url = network.pds().server().url(SESSION);
    let good = json!({"jti": "x", "htm": "GET", "htu": url, "iat": client.now(), "nonce": client.nonce, "ath": "?"});
    let ath = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .encode(ring::digest::digest(&ring::digest::SHA256, tokens.access.as_bytes()))
    };
    let now = client.now();
    for (member, value, error) in [
        ("htm", json!("POST"), "invalid_dpop_proof"),
        ("htu", json!("http://127.0.0.1/x"), "invalid_dpop_proof"),
        ("iat", json!(now - 200), "invalid_dpop_proof"),
        ("iat", json!(now + 200), "invalid_dpop_proof"),
        ("ath", json!("AAAA"), "invalid_dpop_proof"),
        ("jti", json!(""), "invalid_dpop_proof"),
        ("nonce", json!("old"), "use_dpop_nonce"),
        ("nonce", json!(null), "use_dpop_nonce"),
    ] {
        let mut claims = good.clone();
        claims["ath"] = json!(ath);
        claims[member] = value;
        let proof = client.sign_proof(&claims);
        let request = bowerbird_testkit::http_client::TestRequest::get(&url)
            .header("authorization", &format!("DPoP {}", tokens.access))
            .header("dpop", &proof);
        let answer = client.http.send(request).await.expect_status(401);
        assert_eq!(answer.json()["error"], error, "{member}");
    }
    // The same proof twice.
    let mut claims = good;
    claims["ath"] = json!(ath);
    let proof = client.sign_proof(&claims);
    let request = bowerbird_testkit::http_client::TestRequest::get(&url)
        .header("authorization", &format!("DPoP {}", tokens.access))
        .header("dpop", &proof);
    let _ok = client.http.send(request.clone()).await.expect_status(200);
    let replayed = client.http.send(request).await.expect_status(401);
    assert_eq!(replayed.json()["message"], "DPoP proof replayed");
}

#[tokio::test]
async fn access_tokens_expire_and_refresh_tokens_stay() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    network.expire_all_access_tokens();
    let session = network.pds().server().url(SESSION);
    let expired = client.call(&session, &tokens.access).await.expect_status(401);
    assert_eq!(expired.json()["message"], "\"exp\" claim timestamp check failed");
    assert!(!expired.header("www-authenticate").unwrap().contains("error_description"));
    let _fresh = client.refresh(&tokens.refresh).await.expect_status(200);
}

#[tokio::test]
async fn the_person_decides_by_script() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let issuer = network.authorization_server();
    let mut client = HandClient::public(&network);
    issuer.decide(Decision::Deny);
    let denied = client.callback("alice.test").await;
    assert_eq!(denied["error"], "access_denied");
    assert_eq!(denied["iss"], client.issuer);
    issuer.decide(Decision::Hesitate);
    let page = client.push("alice.test").await;
    let _page = client.http.get(&page).await.expect_status(200);
    issuer.approve_as("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
    let _redirect = client.http.get(&page).await.expect_status(303);
    let _gone = client.http.get(&page).await.expect_status(400);
    assert_eq!(network.pds().server().count(endpoint::TOKEN), 0);
}

#[tokio::test]
async fn a_foreign_subject_gets_tokens_that_no_pds_takes() {
    let network = FaultNetwork::start().await;
    let victim = network.add_account("alice.test");
    let evil = network.add_authorization_server();
    evil.approve_as(&victim.did);
    let mut client = HandClient::public(&network);
    client.issuer = evil.issuer().to_owned();
    let tokens = client.log_in("alice.test").await;
    assert_eq!(tokens.whole["sub"], victim.did.as_str());
    client.nonce = None;
    let session = network.pds().server().url(SESSION);
    let refused = client.call(&session, &tokens.access).await.expect_status(401);
    assert_eq!(refused.json()["error"], "invalid_token");
    assert!(panics(|| network.ledger().assert_no_strangers_secrets_at(network.pds().origin())));
}
