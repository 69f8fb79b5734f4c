//! The product's protocol crate against the fault servers: what the one sends, the other accepts.

use bowerbird_oauth::{
    AuthorizationServerMetadata, CallbackParams, ClientAttempt, ClientAuthentication, ClientId, DpopExchange,
    DpopServer, EndpointRule, ExpectedAnswer, Issuer, NonceStep, Origin, ParAnswer, PkceVerifier,
    ProtectedResourceMetadata, PushedAuthorizationRequest, RevocationRequest, ScopeSet, Secret, SigningKey, Timestamp,
    TokenAnswer, TokenRequest, TokenTypeHint, TransportPolicy, ValidatedTokens, authorization_url,
};
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, FaultServer, Misbehave, Verdict, endpoint};
use bowerbird_testkit::http_client::{TestClient, TestRequest};
use bytes::Bytes;
use serde_json::json;

use crate::hand_client::REDIRECT_URI;

struct Party {
    client_id: ClientId,
    authentication: ClientAuthentication,
    key: SigningKey,
    ids: std::cell::Cell<u8>,
}

impl Party {
    fn public() -> Self {
        let query = "redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&scope=atproto%20transition%3Ageneric";
        Self::new(&format!("http://localhost?{query}"), ClientAuthentication::None)
    }

    fn confidential(network: &FaultNetwork) -> Self {
        let key = SigningKey::from_scalar(&[21; 32]).unwrap().with_kid("k1");
        let client_id = "https://bff.home.arpa/oauth-client-metadata.json";
        network.register_client(
            client_id,
            json!({
                "client_id": client_id, "redirect_uris": [REDIRECT_URI], "scope": "atproto transition:generic",
                "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.public_jwk()]},
            }),
        );
        Self::new(client_id, ClientAuthentication::PrivateKeyJwt { kid: "k1".to_owned(), key })
    }

    fn new(client_id: &str, authentication: ClientAuthentication) -> Self {
        let key = SigningKey::from_scalar(&[22; 32]).unwrap();
        Self { client_id: ClientId::parse(client_id).unwrap(), authentication, key, ids: std::cell::Cell::new(0) }
    }

    fn fresh(&self) -> [u8; 16] {
        self.ids.set(self.ids.get() + 1);
        [self.ids.get(); 16]
    }

    fn attempt<'a>(&'a self, issuer: &'a Issuer) -> ClientAttempt<'a> {
        let (client_id, authentication) = (&self.client_id, &self.authentication);
        ClientAttempt { client_id, authentication, issuer, now: now(), assertion_jti: self.fresh() }
    }

    /// Sends what the closure builds, with a proof, and once more when a nonce is asked for.
    async fn exchange(&self, build: impl Fn() -> http::Request<Bytes>) -> (http::Response<Bytes>, u8) {
        let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
        loop {
            let mut request = build();
            exchange.sign(&mut request, &self.key, now(), self.fresh(), None).unwrap();
            let answer = send(request).await;
            if exchange.observe(&answer).unwrap() == NonceStep::Done {
                return (answer, exchange.attempts());
            }
        }
    }

    async fn log_in(&self, network: &FaultNetwork, handle: &str) -> (AuthorizationServerMetadata, ValidatedTokens) {
        let policy = TransportPolicy::with_plain_http(network.servers().iter().map(FaultServer::host_and_port));
        let pds = Origin::parse(network.pds().origin(), &policy).unwrap();
        let resource =
            ProtectedResourceMetadata::parse(&get(&ProtectedResourceMetadata::url(&pds)).await, &pds, &policy).unwrap();
        let issuer = resource.authorization_server();
        let answer = get(&AuthorizationServerMetadata::url(issuer)).await;
        let server = AuthorizationServerMetadata::parse(&answer, issuer, &policy, EndpointRule::SameOrigin).unwrap();
        server.check_resource(&pds).unwrap();

        let scope = ScopeSet::parse_requested("atproto transition:generic").unwrap();
        let (state, verifier) = (Secret::new("c3RhdGU"), PkceVerifier::from_entropy(&[5; 64]));
        let pushed = PushedAuthorizationRequest {
            redirect_uri: REDIRECT_URI,
            scope: &scope,
            state: &state,
            verifier: &verifier,
            login_hint: Some(handle),
            prompt: None,
        };
        let build = || pushed.to_http(&server.pushed_authorization_request_endpoint, &self.attempt(issuer));
        let (answer, attempts) = self.exchange(build).await;
        assert_eq!(attempts, 2, "the server asks for a nonce first");
        let request_uri = ParAnswer::read(&answer).unwrap().request_uri;
        let page = authorization_url(&server.authorization_endpoint, &self.client_id, &request_uri);
        let back = TestClient::new().get(page.as_str()).await.expect_status(303).location().to_owned();
        let callback = CallbackParams::parse(back.split_once('?').unwrap().1).unwrap();
        callback.check_issuer(issuer).unwrap();
        let CallbackParams::Granted { code, .. } = callback else { panic!("denied: {back}") };
        let request = || TokenRequest::AuthorizationCode {
            code: code.clone(),
            redirect_uri: REDIRECT_URI.to_owned(),
            verifier: verifier.clone(),
        };
        let (answer, _) = self.exchange(|| request().to_http(&server.token_endpoint, &self.attempt(issuer))).await;
        let tokens = TokenAnswer::read(&answer).unwrap().validate(&ExpectedAnswer { sub: None }).unwrap();
        (server, tokens)
    }

    async fn refresh(&self, server: &AuthorizationServerMetadata, refresh_token: &Secret) -> ValidatedTokens {
        let request = || TokenRequest::RefreshToken { refresh_token: refresh_token.clone() };
        let (answer, _) =
            self.exchange(|| request().to_http(&server.token_endpoint, &self.attempt(&server.issuer))).await;
        TokenAnswer::read(&answer).unwrap().validate(&ExpectedAnswer { sub: None }).unwrap()
    }
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap())
}

async fn send(request: http::Request<Bytes>) -> http::Response<Bytes> {
    let (head, body) = request.into_parts();
    let mut out = TestRequest::new(head.method.as_str(), &head.uri.to_string()).body(body);
    for (name, value) in &head.headers {
        out = out.header(name.as_str(), value.to_str().unwrap());
    }
    let answer = TestClient::new().send(out).await;
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(answer.body).unwrap()
}

async fn get(url: &url::Url) -> http::Response<Bytes> {
    send(http::Request::get(url.as_str()).body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_public_client_on_a_self_hosted_pds() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let party = Party::public();
    let (server, tokens) = party.log_in(&network, "alice.test").await;
    assert_eq!(tokens.sub, alice.did);
    let next = party.refresh(&server, tokens.refresh_token.as_ref().unwrap()).await;
    let revoked = RevocationRequest { token: next.refresh_token.clone().unwrap(), hint: TokenTypeHint::RefreshToken };
    let endpoint = server.revocation_endpoint.clone().unwrap();
    let (answer, _) = party.exchange(|| revoked.to_http(&endpoint, &party.attempt(&server.issuer))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(network.authorization_server().live_grants(&alice.did), 0);
    network.assert_clean();
}

#[tokio::test]
async fn a_confidential_client_behind_an_entryway() {
    let network = FaultNetwork::start_with_entryway().await;
    let alice = network.add_account("alice.test");
    let party = Party::confidential(&network);
    let (server, tokens) = party.log_in(&network, "alice.test").await;
    assert_eq!(tokens.sub, alice.did);
    let _next = party.refresh(&server, tokens.refresh_token.as_ref().unwrap()).await;
    let request = network.authorization_server().server().log().last(endpoint::TOKEN).unwrap();
    assert_eq!(request.client_assertion_claims()["aud"], network.authorization_server().issuer());
    assert_eq!(request.client_assertion_header()["kid"], "k1");
    assert_eq!(request.dpop_thumbprint().as_deref(), Some(party.key.thumbprint()));
    let spent: Vec<Verdict> =
        network.ledger().presented(CanaryKind::RefreshToken).iter().map(|shown| shown.verdict).collect();
    assert_eq!(
        spent,
        [Verdict::NotConsumed, Verdict::Accepted],
        "the nonce challenge comes before the token is looked at"
    );
    network.assert_clean();
}

#[tokio::test]
async fn an_endless_nonce_challenge_is_given_up_after_two_attempts() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let party = Party::public();
    let (server, tokens) = party.log_in(&network, "alice.test").await;
    let issuer = network.authorization_server();
    issuer.server().misbehave(endpoint::TOKEN, Misbehave::ChallengeNonce);
    network.clear_logs();
    let refresh_token = tokens.refresh_token.unwrap();
    let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
    let outcome = loop {
        let request = TokenRequest::RefreshToken { refresh_token: refresh_token.clone() };
        let mut request = request.to_http(&server.token_endpoint, &party.attempt(&server.issuer));
        exchange.sign(&mut request, &party.key, now(), party.fresh(), None).unwrap();
        match exchange.observe(&send(request).await) {
            Ok(NonceStep::Done) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    assert!(outcome.is_err());
    assert_eq!(issuer.token_calls(), 2);
    network.ledger().assert_no_replays();
}
