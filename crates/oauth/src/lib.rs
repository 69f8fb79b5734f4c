//! The OAuth protocol as AT Protocol servers speak it, pure: requests out, responses in.
//!
//! No clock, no randomness, no I/O: they are arguments. A caller brings entropy and the time, sends the
//! [`http::Request`]s that it is given, and hands back the [`http::Response`]s. What a server says is never trusted
//! before the check that belongs to it; every check has its own error variant.
//!
//! | module | what it holds | source |
//! |---|---|---|
//! | [`Origin`], [`Issuer`], [`Endpoint`], [`TransportPolicy`] | who may be spoken to, and how | RFC 8414 §2 |
//! | [`jose`] | ES256 keys, JWK sets, thumbprints, compact JWS | RFC 7515, 7517, 7518, 7638 |
//! | [`pkce`] | verifiers and S256 challenges | RFC 7636 |
//! | [`dpop`] | proofs, nonces, and the one retry that a nonce may cost | RFC 9449 |
//! | [`client`] | client ids, client metadata, client assertions | RFC 7591, 7523 |
//! | [`metadata`] | what servers publish about themselves | RFC 8414, 9728 |
//! | [`authorization`] | the pushed request, the redirect, the callback | RFC 9126, 9207 |
//! | [`token`] | exchanging codes and refresh tokens; answers and errors | RFC 6749 |
//! | [`revocation`] | ending a grant | RFC 7009 |
//! | [`scope`] | what is asked for and granted | <https://atproto.com/specs/permission> |
//! | [`Secret`], [`SecretBytes`] | values that cannot leak by accident | |
//!
//! # A login, whole
//!
//! ```
//! use bowerbird_oauth::*;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! # use std::cell::{Cell, RefCell};
//! # let seed = Cell::new(0_u8);
//! # let fresh = || { seed.set(seed.get() + 1); [seed.get(); 16] };
//! # // A server in two lines: it asks for a nonce first, as real ones do, and answers from a list.
//! # let json = |status: u16, body: &'static str| Response::builder().status(status)
//! #     .header("content-type", "application/json").header("dpop-nonce", "n1").body(Bytes::from_static(body.as_bytes()));
//! # let answers = RefCell::new(vec![
//! #     json(200, r#"{"access_token":"at-1","refresh_token":"ref-1","token_type":"DPoP","scope":"atproto","sub":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","expires_in":3599}"#)?,
//! #     json(201, r#"{"request_uri":"urn:ietf:params:oauth:request_uri:req-1","expires_in":299}"#)?,
//! #     json(400, r#"{"error":"use_dpop_nonce"}"#)?,
//! #     json(200, include_str!("../tests/fixtures/testnet-authorization-server.json"))?,
//! #     json(200, include_str!("../tests/fixtures/testnet-protected-resource.json"))?,
//! # ]);
//! # let send = |_request: Request<Bytes>| answers.borrow_mut().pop().expect("as many answers as requests");
//! # let get = |_url: url::Url| answers.borrow_mut().pop().expect("as many answers as requests");
//! // `send` and `get` are the caller's HTTP client, `fresh` gives 16 random bytes.
//! let policy = TransportPolicy::with_plain_http(["localhost:2583".to_owned()]);
//! let now = Timestamp::from_seconds(1_800_000_000);
//!
//! // 1. Who are we? A public client on loopback needs no server of its own.
//! let scope = ScopeSet::parse_requested("atproto transition:generic")?;
//! let redirect_uri = "http://127.0.0.1:8080/oauth/callback";
//! let client = ClientMetadata::loopback(vec![redirect_uri.to_owned()], &scope)?;
//! let client_id = ClientId::parse(&client.client_id)?;
//! let authentication = ClientAuthentication::None;
//!
//! // 2. The person's server leads to its authorization server, and the two agree.
//! let pds = Origin::parse("http://localhost:2583", &policy)?;
//! let resource = ProtectedResourceMetadata::parse(&get(ProtectedResourceMetadata::url(&pds)), &pds, &policy)?;
//! let issuer = resource.authorization_server();
//! let answer = get(AuthorizationServerMetadata::url(issuer));
//! let server = AuthorizationServerMetadata::parse(&answer, issuer, &policy, EndpointRule::SameOrigin)?;
//! server.check_resource(&pds)?;
//!
//! // 3. Push the request; one retry with the server's nonce, everything fresh in each attempt.
//! let attempt = || ClientAttempt {
//!     client_id: &client_id, authentication: &authentication, issuer, now, assertion_jti: fresh(),
//! };
//! # let (state, key_entropy, verifier_entropy) = (Secret::new("c3RhdGU"), [7; 32], [9; 64]);
//! let dpop_key = SigningKey::from_scalar(&key_entropy)?;
//! let verifier = PkceVerifier::from_entropy(&verifier_entropy);
//! let pushed = PushedAuthorizationRequest {
//!     redirect_uri, scope: &scope, state: &state, verifier: &verifier, login_hint: Some("alice.test"), prompt: None,
//! };
//! let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
//! let answer = loop {
//!     let mut request = pushed.to_http(&server.pushed_authorization_request_endpoint, &attempt());
//!     exchange.sign(&mut request, &dpop_key, now, fresh(), None)?;
//!     let answer = send(request);
//!     if exchange.observe(&answer)? == NonceStep::Done {
//!         break answer;
//!     }
//! };
//! assert_eq!(exchange.attempts(), 2);
//!
//! // 4. Send the person there; they come back with a callback.
//! let request_uri = ParAnswer::read(&answer)?.request_uri;
//! let url = authorization_url(&server.authorization_endpoint, &client_id, &request_uri);
//! assert_eq!(url.path(), "/oauth/authorize");
//! let callback = CallbackParams::parse("iss=http%3A%2F%2Flocalhost%3A2583&state=c3RhdGU&code=cod-1")?;
//! callback.check_issuer(issuer)?; // before the code is used
//! let CallbackParams::Granted { code, .. } = callback else { return Err("the person refused".into()) };
//!
//! // 5. Exchange the code, store what came, and only then judge it.
//! let request = TokenRequest::AuthorizationCode { code, redirect_uri: redirect_uri.to_owned(), verifier };
//! let mut exchange = DpopExchange::new(DpopServer::Authorization, exchange.into_nonce());
//! let mut request = request.to_http(&server.token_endpoint, &attempt());
//! exchange.sign(&mut request, &dpop_key, now, fresh(), None)?;
//! let raw = TokenAnswer::read(&send(request))?;
//! // … seal and store `raw` here …
//! let tokens = raw.validate(&ExpectedAnswer { sub: Some("did:plc:ewvi7nxzyoun6zhxrhs64oiz") })?;
//! assert_eq!(tokens.scope.to_string(), "atproto"); // smaller than asked for, and fine
//! # assert!(answers.borrow().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod authorization;
pub mod client;
pub mod dpop;
pub mod jose;
pub mod metadata;
mod origin;
pub mod pkce;
pub mod revocation;
pub mod scope;
mod secret;
mod time;
pub mod token;

pub use authorization::{
    CallbackError, CallbackParams, IssuerCheckError, ParAnswer, ParError, Prompt, PushedAuthorizationRequest,
    authorization_url,
};
pub use client::{ClientAttempt, ClientAuthentication, ClientDescription, ClientId, ClientMetadata};
pub use dpop::{DpopChallenge, DpopExchange, DpopExchangeError, DpopNonce, DpopServer, NonceStep};
pub use jose::{JwkSet, PrivateJwkSet, PublicJwk, SigningKey};
pub use metadata::{AuthorizationServerMetadata, Capability, EndpointRule, MetadataError, ProtectedResourceMetadata};
pub use origin::{Endpoint, EndpointError, Issuer, Origin, OriginError, TransportPolicy};
pub use pkce::{PkceVerifier, challenge_is_well_formed};
pub use revocation::{RevocationRequest, TokenTypeHint};
pub use scope::{Scope, ScopeSet};
pub use secret::{Secret, SecretBytes};
pub use time::Timestamp;
pub use token::{
    ExpectedAnswer, GrantFate, OAuthErrorAnswer, TokenAnswer, TokenAnswerError, TokenErrorCode, TokenRequest,
    TokenRequestError, ValidatedTokens,
};
