//! A confidential client against an authorization server that checks every proof and assertion as the real one does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use bowerbird_oauth::{
    ClientAttempt, ClientAuthentication, ClientId, DpopExchange, DpopExchangeError, DpopServer, Endpoint, GrantFate,
    Issuer, NonceStep, PublicJwk, Secret, SigningKey, Timestamp, TokenAnswer, TokenRequest, TransportPolicy, jose::jws,
};
use bytes::Bytes;
use http::{Request, Response};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Accepts a refresh once per proof id and assertion id, with the nonce it gave last.
struct Server {
    client_key: PublicJwk,
    nonce: u32,
    /// Gives a new nonce and refuses, for this many requests.
    refusals: u32,
    seen_ids: BTreeSet<String>,
    requests: u32,
}

impl Server {
    fn new(client_key: &SigningKey, refusals: u32) -> Self {
        let client_key = client_key.public_jwk().clone();
        Self { client_key, nonce: 0, refusals, seen_ids: BTreeSet::new(), requests: 0 }
    }

    fn answer(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        self.requests += 1;
        let proof = request.headers()["dpop"].to_str().unwrap();
        let jwk: PublicJwk =
            serde_json::from_value(jws::decode_unverified(proof).unwrap().header["jwk"].clone()).unwrap();
        let proof = jws::verify(proof, &jwk).unwrap();
        assert_eq!(proof.header["typ"], "dpop+jwt");
        assert_eq!((&proof.claims["htm"], &proof.claims["htu"]), (&"POST".into(), &"https://as.example/token".into()));
        assert!(!proof.claims.contains_key("ath"), "no access token is sent to an authorization server");
        assert!(!request.headers().contains_key("authorization"));
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        let assertion = jws::verify(&form["client_assertion"], &self.client_key).unwrap();
        assert_eq!(assertion.claims["aud"], "https://as.example");
        for claims in [&proof.claims, &assertion.claims] {
            assert!(self.seen_ids.insert(claims["jti"].as_str().unwrap().to_owned()), "an id came twice");
        }
        let expected = format!("nonce-{}", self.nonce);
        if self.refusals > 0 || proof.claims.get("nonce").and_then(|nonce| nonce.as_str()) != Some(&expected) {
            self.refusals = self.refusals.saturating_sub(1);
            self.nonce += 1;
            return self.reply(400, r#"{"error":"use_dpop_nonce"}"#);
        }
        assert_eq!(form["refresh_token"], "ref-1");
        self.reply(200, r#"{"access_token":"at-2","refresh_token":"ref-2","token_type":"DPoP"}"#)
    }

    fn reply(&self, status: u16, body: &'static str) -> Response<Bytes> {
        let nonce = format!("nonce-{}", self.nonce);
        Response::builder()
            .status(status)
            .header("dpop-nonce", nonce)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }
}

/// Refreshes once, with the loop that every caller writes.
fn refresh(server: &mut Server, client_key: &SigningKey) -> Result<Response<Bytes>, DpopExchangeError> {
    let policy = TransportPolicy::https_only();
    let issuer = Issuer::parse("https://as.example", &policy).unwrap();
    let endpoint = Endpoint::parse("https://as.example/token", &issuer, &policy).unwrap();
    let client_id = ClientId::parse("https://bower.example/client.json").unwrap();
    let authentication = ClientAuthentication::PrivateKeyJwt { key: client_key.clone(), kid: "k1".to_owned() };
    let dpop_key = SigningKey::from_scalar(&[2; 32]).unwrap();
    let request = TokenRequest::RefreshToken { refresh_token: Secret::new("ref-1") };
    let mut drawn = 0_u8;
    let mut fresh = || {
        drawn += 1;
        [drawn; 16]
    };
    let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
    loop {
        let attempt = ClientAttempt {
            client_id: &client_id,
            authentication: &authentication,
            issuer: &issuer,
            now: NOW,
            assertion_jti: fresh(),
        };
        let mut http = request.to_http(&endpoint, &attempt);
        exchange.sign(&mut http, &dpop_key, NOW, fresh(), None)?;
        let answer = server.answer(&http);
        if exchange.observe(&answer)? == NonceStep::Done {
            return Ok(answer);
        }
    }
}

#[test]
fn a_nonce_costs_one_retry_with_fresh_proof_and_assertion() {
    let client_key = SigningKey::from_scalar(&[1; 32]).unwrap();
    let mut server = Server::new(&client_key, 0);
    let answer = refresh(&mut server, &client_key).unwrap();
    assert!(TokenAnswer::read(&answer).unwrap().refresh_token.unwrap().matches("ref-2"));
    assert_eq!((server.requests, server.seen_ids.len()), (2, 4));
}

#[test]
fn row_30_an_endless_nonce_demand_sees_two_requests() {
    let client_key = SigningKey::from_scalar(&[1; 32]).unwrap();
    let mut server = Server::new(&client_key, u32::MAX);
    let ended = refresh(&mut server, &client_key).unwrap_err();
    assert!(matches!(ended, DpopExchangeError::DpopNonceLoop));
    assert_eq!(server.requests, 2);
}

#[test]
fn a_nonce_demand_never_spends_the_refresh_token() {
    let client_key = SigningKey::from_scalar(&[1; 32]).unwrap();
    let server = Server::new(&client_key, 0);
    let refused = TokenAnswer::read(&server.reply(400, r#"{"error":"use_dpop_nonce"}"#)).unwrap_err();
    assert_eq!(refused.grant_fate(), GrantFate::NotConsumed);
}
