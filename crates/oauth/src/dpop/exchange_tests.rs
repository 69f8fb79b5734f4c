use bytes::Bytes;

use super::*;
use crate::jose::jws;

fn key() -> SigningKey {
    SigningKey::from_scalar(&[1; 32]).unwrap()
}

fn request() -> Request<Bytes> {
    Request::post("https://as.example/oauth/token?x=1").body(Bytes::new()).unwrap()
}

fn answer(status: u16, nonce: Option<&str>, challenge: Option<&str>, body: &'static str) -> Response<Bytes> {
    let mut builder = Response::builder().status(status).header("content-type", "application/json");
    if let Some(nonce) = nonce {
        builder = builder.header("DPoP-Nonce", nonce);
    }
    if let Some(challenge) = challenge {
        builder = builder.header("WWW-Authenticate", challenge);
    }
    builder.body(Bytes::from_static(body.as_bytes())).unwrap()
}

const AS_WANTS: &str =
    r#"{"error":"use_dpop_nonce","error_description":"Authorization server requires nonce in DPoP proof"}"#;
const RS_WANTS: &str = r#"DPoP algs="ES256", error="use_dpop_nonce""#;

fn claims_of(request: &Request<Bytes>) -> serde_json::Map<String, serde_json::Value> {
    jws::verify(request.headers()["dpop"].to_str().unwrap(), key().public_jwk()).unwrap().claims
}

#[test]
fn an_authorization_server_gets_one_retry_with_its_nonce() {
    let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
    let mut first = request();
    exchange.sign(&mut first, &key(), Timestamp::EPOCH, [1; 16], None).unwrap();
    assert!(!claims_of(&first).contains_key("nonce"));
    assert_eq!(exchange.observe(&answer(400, Some("n1"), None, AS_WANTS)).unwrap(), NonceStep::Retry);
    let mut second = request();
    exchange.sign(&mut second, &key(), Timestamp::EPOCH, [2; 16], None).unwrap();
    assert_eq!(claims_of(&second)["nonce"], "n1");
    assert_ne!(claims_of(&second)["jti"], claims_of(&first)["jti"]);
    assert_eq!(exchange.observe(&answer(200, Some("n2"), None, "{}")).unwrap(), NonceStep::Done);
    assert_eq!(exchange.into_nonce().unwrap().as_str(), "n2", "a success brings a nonce too");
}

#[test]
fn an_endless_nonce_demand_ends_after_two_attempts() {
    for (server, status, challenge, body) in
        [(DpopServer::Authorization, 400, None, AS_WANTS), (DpopServer::Resource, 401, Some(RS_WANTS), "")]
    {
        let mut exchange = DpopExchange::new(server, DpopNonce::parse("seed"));
        exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [1; 16], None).unwrap();
        let step = exchange.observe(&answer(status, Some("n1"), challenge, body)).unwrap();
        assert_eq!(step, NonceStep::Retry);
        exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [2; 16], None).unwrap();
        let ended = exchange.observe(&answer(status, Some("n2"), challenge, body)).unwrap_err();
        assert!(matches!(ended, DpopExchangeError::DpopNonceLoop));
        let mut third = request();
        let refused = exchange.sign(&mut third, &key(), Timestamp::EPOCH, [3; 16], None).unwrap_err();
        assert!(matches!(refused, DpopExchangeError::DpopNonceLoop));
        assert!(third.headers().is_empty(), "no third proof is made");
        assert_eq!(exchange.nonce().unwrap().as_str(), "n2");
    }
}

#[test]
fn a_demand_without_a_usable_nonce_is_not_retried() {
    for nonce in [None, Some("two words"), Some("")] {
        let mut exchange = DpopExchange::new(DpopServer::Authorization, DpopNonce::parse("old"));
        exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [1; 16], None).unwrap();
        let ended = exchange.observe(&answer(400, nonce, None, AS_WANTS)).unwrap_err();
        assert!(matches!(ended, DpopExchangeError::NonceMissing), "{nonce:?}");
    }
}

#[test]
fn each_kind_of_server_asks_in_its_own_way_only() {
    for (server, status, challenge, body) in [
        (DpopServer::Authorization, 401, Some(RS_WANTS), ""),
        (DpopServer::Authorization, 401, None, AS_WANTS),
        (DpopServer::Authorization, 400, None, r#"{"error":"invalid_grant"}"#),
        (DpopServer::Authorization, 400, None, "use_dpop_nonce"),
        (DpopServer::Authorization, 200, None, AS_WANTS),
        (DpopServer::Resource, 400, None, AS_WANTS),
        (DpopServer::Resource, 401, None, AS_WANTS),
        (DpopServer::Resource, 401, Some("DPoP error=\"invalid_token\""), ""),
        (DpopServer::Resource, 403, Some(RS_WANTS), ""),
    ] {
        let mut exchange = DpopExchange::new(server, None);
        exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [1; 16], None).unwrap();
        let step = exchange.observe(&answer(status, Some("n"), challenge, body)).unwrap();
        assert_eq!(step, NonceStep::Done, "{server:?} {status} {challenge:?} {body}");
        assert_eq!(exchange.nonce().unwrap().as_str(), "n", "its nonce is taken all the same");
    }
}

#[test]
fn the_proof_id_of_the_attempt_before_is_refused() {
    let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
    exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [1; 16], None).unwrap();
    exchange.observe(&answer(400, Some("n1"), None, AS_WANTS)).unwrap();
    let mut again = request();
    let refused = exchange.sign(&mut again, &key(), Timestamp::EPOCH, [1; 16], None).unwrap_err();
    assert!(matches!(refused, DpopExchangeError::JtiReused));
    assert!(again.headers().is_empty());
}

#[test]
fn the_access_token_travels_with_its_hash_and_marked_sensitive() {
    let mut exchange = DpopExchange::new(DpopServer::Resource, None);
    let mut signed = request();
    let access_token = Secret::new("CANARY");
    exchange.sign(&mut signed, &key(), Timestamp::EPOCH, [1; 16], Some(&access_token)).unwrap();
    assert_eq!(signed.headers()["authorization"], "DPoP CANARY");
    assert!(claims_of(&signed).contains_key("ath"));
    assert!(!format!("{:?}", signed.headers()).contains("CANARY"));
    assert!(signed.headers()["dpop"].is_sensitive());
}

#[test]
fn unusable_requests_are_refused_and_do_not_count() {
    let mut exchange = DpopExchange::new(DpopServer::Resource, None);
    let mut relative = Request::get("/xrpc/a.b.c").body(Bytes::new()).unwrap();
    let refused = exchange.sign(&mut relative, &key(), Timestamp::EPOCH, [1; 16], None).unwrap_err();
    assert!(matches!(refused, DpopExchangeError::NotAbsolute));
    let split = Secret::new("a\r\nx: y");
    let refused = exchange.sign(&mut request(), &key(), Timestamp::EPOCH, [1; 16], Some(&split)).unwrap_err();
    assert!(matches!(refused, DpopExchangeError::BadAccessToken(_)));
    assert_eq!(exchange.attempts(), 0);
}
