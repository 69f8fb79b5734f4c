//! The call to an account's server, signed with DPoP (RFC 9449 §7), or with the bearer token of an app-password session:
//! every request with a person's access token goes through here, and the token goes to the one origin it is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{Entropy, HttpClient, StreamBody, full_body};
use bowerbird_core::{ConnectionId, CredentialState};
use bowerbird_oauth::dpop::{DpopChallenge, DpopExchange, DpopExchangeError, DpopServer, NonceStep};
use bowerbird_vault::{CheckoutError, Standing, UsableCredential, Vault};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::app_password::bearer;
use crate::proxy::{ProxyError, UpstreamFault};
use crate::servers::Servers;
use crate::whole_body::whole_body;

/// A body up to this size and of known length is kept, so that it can be sent a second time.
const REPLAYABLE_BYTES: usize = 64 * 1024;
/// Before a body that cannot be sent twice, the nonce must be younger than this (the reference server takes one for two
/// to three minutes).
const STREAMING_NONCE_AGE: Duration = Duration::from_mins(2);
/// What is read of a 401 to find out what the server wants.
const REFUSAL_BYTES: usize = 64 * 1024;
/// The cheap call that brings a nonce, and shows that the access token is good, before a body is streamed.
const WARM_UP_PATH: &str = "/xrpc/com.atproto.server.getSession";

/// Calls accounts' servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Upstream {
    http: Arc<dyn HttpClient>,
    entropy: Arc<dyn Entropy>,
    servers: Servers,
    vault: Vault,
}

/// A call. The origin is not part of it: the credential knows where it may go.
pub(crate) struct UpstreamCall {
    pub(crate) connection: ConnectionId,
    pub(crate) method: Method,
    /// An absolute path without a query.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: StreamBody,
}

/// What does not change between the attempts of one call.
struct Target<'a> {
    connection: ConnectionId,
    method: &'a Method,
    path: &'a str,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
}

/// The body, as often as it can be sent.
enum Upload {
    Repeatable(Bytes),
    Once {
        body: Option<StreamBody>,
        /// Whether it broke off while it was sent: then a missing answer is not the server's fault.
        broken: Arc<AtomicBool>,
    },
}

/// What an answer asks for.
enum Verdict {
    /// It is the answer.
    Final(Response<StreamBody>),
    /// Sign again and send again: there is a nonce or a time that was not known.
    SignAgain,
    /// The access token is no longer good.
    NewerToken,
}

impl Upstream {
    pub(crate) fn new(http: Arc<dyn HttpClient>, entropy: Arc<dyn Entropy>, servers: Servers, vault: Vault) -> Self {
        Self { http, entropy, servers, vault }
    }

    /// Makes the call with a fresh access token. A nonce costs at most one more attempt, and an access token that was
    /// renewed meanwhile another one; then the answer is the answer.
    pub(crate) async fn call(&self, call: UpstreamCall) -> Result<Response<StreamBody>, ProxyError> {
        let UpstreamCall { connection, method, path, query, headers, body } = call;
        let target = Target { connection, method: &method, path: &path, query: query.as_deref(), headers: &headers };
        let upload = Upload::of(body).await?;
        if matches!(upload, Upload::Once { .. }) {
            self.warm_up(connection).await?;
        }
        self.attempts(&target, upload).await
    }

    async fn attempts(&self, target: &Target<'_>, mut upload: Upload) -> Result<Response<StreamBody>, ProxyError> {
        let mut credential = self.usable(self.vault.checkout(target.connection).await)?;
        let mut exchange = self.exchange(&credential);
        let (mut signed_again, mut renewed) = (false, false);
        loop {
            let Some(body) = upload.take() else {
                // What the server wanted is known by now, and the next call looks first: it will pass.
                self.servers.doubt_nonce(&credential.audience);
                return Err(ProxyError::TryLater { after_seconds: Some(1) });
            };
            let verdict = self.attempt(target, &credential, &mut exchange, body).await;
            if verdict.is_err() && upload.is_broken() {
                return Err(ProxyError::BodyUnreadable);
            }
            if verdict.is_err() && matches!(upload, Upload::Once { .. }) {
                // A server that refuses a large body often hangs up instead of saying why.
                self.servers.doubt_nonce(&credential.audience);
            }
            match verdict? {
                Verdict::Final(answer) => return Ok(answer),
                Verdict::SignAgain if signed_again => return Err(ProxyError::NonceLoop),
                Verdict::SignAgain => signed_again = true,
                Verdict::NewerToken if renewed => return Err(self.fresh_token_refused(target.connection).await),
                Verdict::NewerToken => {
                    renewed = true;
                    let newer = self.vault.checkout_newer(target.connection, credential.generation).await;
                    credential = self.usable(newer)?;
                    exchange = self.exchange(&credential);
                }
            }
        }
    }

    /// Why a token that was renewed a moment ago is refused: its account may have left meanwhile, and its grant been given
    /// back. Else the server is at fault.
    async fn fresh_token_refused(&self, connection: ConnectionId) -> ProxyError {
        match self.vault.standing(connection).await {
            Ok(None) => ProxyError::NotConnected,
            Ok(Some(Standing { state: CredentialState::NeedsReauth(reason), .. })) => {
                ProxyError::NeedsReauth { reason }
            }
            Ok(Some(_)) => ProxyError::Upstream(UpstreamFault::TokenRefused),
            Err(error) => ProxyError::Store(error),
        }
    }

    fn exchange(&self, credential: &UsableCredential) -> DpopExchange {
        DpopExchange::new(DpopServer::Resource, self.servers.nonce(&credential.audience))
    }

    async fn attempt(
        &self,
        target: &Target<'_>,
        credential: &UsableCredential,
        exchange: &mut DpopExchange,
        body: StreamBody,
    ) -> Result<Verdict, ProxyError> {
        let origin = credential.audience.as_str();
        let mut request = Request::new(body);
        *request.method_mut() = target.method.clone();
        *request.uri_mut() = target.uri(origin)?;
        request.headers_mut().clone_from(target.headers);
        let Some(dpop_key) = &credential.dpop_key else { return self.attempt_as_bearer(request, credential).await };
        let mut jti = [0; 16];
        self.entropy.fill(&mut jti);
        let now = self.servers.now_at(origin);
        exchange
            .sign(&mut request, dpop_key, now, jti, Some(&credential.access_token))
            .map_err(|error| ProxyError::Upstream(UpstreamFault::Unsignable(error.into())))?;
        let answer = self.http.stream(request).await.map_err(|error| ProxyError::Upstream(error.into()))?;
        self.servers.learn_nonce(origin, answer.headers());
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(Verdict::Final(answer));
        }
        self.refused(origin, exchange, answer).await
    }

    /// An app-password session has plain bearer tokens, and its server says in the body that one has ended.
    async fn attempt_as_bearer(
        &self,
        mut request: Request<StreamBody>,
        credential: &UsableCredential,
    ) -> Result<Verdict, ProxyError> {
        let authorization = bearer(&credential.access_token)
            .map_err(|error| ProxyError::Upstream(UpstreamFault::Unsignable(error.into())))?;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        let answer = self.http.stream(request).await.map_err(|error| ProxyError::Upstream(error.into()))?;
        let is_small = answer.body().size_hint().upper().is_none_or(|most| most <= REFUSAL_BYTES as u64);
        if !matches!(answer.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) || !is_small {
            return Ok(Verdict::Final(answer));
        }
        let (head, body) = answer.into_parts();
        let Ok(body) = whole_body(body, REFUSAL_BYTES).await else {
            return Err(ProxyError::Upstream(UpstreamFault::TokenRefused));
        };
        match error_in(&body).as_deref() {
            Some("ExpiredToken" | "InvalidToken") => Ok(Verdict::NewerToken),
            _ => Ok(Verdict::Final(Response::from_parts(head, full_body(body)))),
        }
    }

    /// Finds out what a 401 wants. The header says it; older servers say it in the body alone.
    async fn refused(
        &self,
        origin: &str,
        exchange: &mut DpopExchange,
        answer: Response<StreamBody>,
    ) -> Result<Verdict, ProxyError> {
        let clock_moved = self.servers.learn_clock(origin, answer.headers());
        match exchange.observe_parts(answer.status(), answer.headers(), b"") {
            Ok(NonceStep::Retry) => {
                self.servers.nonce_retried();
                return Ok(Verdict::SignAgain);
            }
            Ok(NonceStep::Done) => {}
            Err(DpopExchangeError::DpopNonceLoop | DpopExchangeError::NonceMissing) => {
                return Err(ProxyError::NonceLoop);
            }
            Err(error) => return Err(ProxyError::Upstream(UpstreamFault::Unsignable(error.into()))),
        }
        let (head, body) = answer.into_parts();
        let challenge = DpopChallenge::from_headers(&head.headers);
        let Ok(body) = whole_body(body, REFUSAL_BYTES).await else {
            return Err(ProxyError::Upstream(UpstreamFault::TokenRefused));
        };
        let error = challenge.and_then(|challenge| challenge.error).or_else(|| error_in(&body));
        match error.as_deref() {
            Some("invalid_token") => Ok(Verdict::NewerToken),
            Some("invalid_dpop_proof") if clock_moved => Ok(Verdict::SignAgain),
            _ => Ok(Verdict::Final(Response::from_parts(head, full_body(body)))),
        }
    }

    fn usable(
        &self,
        checkout: Result<Arc<UsableCredential>, CheckoutError>,
    ) -> Result<Arc<UsableCredential>, ProxyError> {
        checkout.map_err(|error| match error {
            CheckoutError::NotFound => ProxyError::NotConnected,
            CheckoutError::NeedsReauth(reason) => ProxyError::NeedsReauth { reason },
            CheckoutError::TryLater { not_before, source } => {
                tracing::info!(%source, "no usable access token right now");
                let millis = not_before.map(|at| at.millis_since(self.servers.now()).max(0));
                let seconds = millis.map(|millis| u32::try_from(millis / 1000 + 1).unwrap_or(u32::MAX));
                ProxyError::TryLater { after_seconds: seconds }
            }
            CheckoutError::Store(error) => ProxyError::Store(error),
        })
    }

    /// Sees to it that the next request needs no second attempt, as far as that can be known.
    async fn warm_up(&self, connection: ConnectionId) -> Result<(), ProxyError> {
        let credential = self.usable(self.vault.checkout(connection).await)?;
        if self.servers.has_nonce_younger_than(&credential.audience, STREAMING_NONCE_AGE) {
            return Ok(());
        }
        let headers = HeaderMap::new();
        let target = Target { connection, method: &Method::GET, path: WARM_UP_PATH, query: None, headers: &headers };
        // The answer is of no interest: whatever the server wanted to say about token and nonce was dealt with.
        self.attempts(&target, Upload::Repeatable(Bytes::new())).await.map(drop)
    }
}

impl Target<'_> {
    fn uri(&self, origin: &str) -> Result<http::Uri, ProxyError> {
        let query = self.query.unwrap_or_default();
        let mut text = String::with_capacity(origin.len() + self.path.len() + query.len() + 1);
        text.push_str(origin);
        text.push_str(self.path);
        if !query.is_empty() {
            text.push('?');
            text.push_str(query);
        }
        text.try_into().map_err(|_| ProxyError::Upstream(UpstreamFault::Target))
    }
}

impl Upload {
    async fn of(body: StreamBody) -> Result<Self, ProxyError> {
        if body.is_end_stream() {
            return Ok(Self::Repeatable(Bytes::new()));
        }
        if body.size_hint().upper().is_none_or(|most| most > REPLAYABLE_BYTES as u64) {
            let broken = Arc::new(AtomicBool::new(false));
            let noted = Arc::clone(&broken);
            let body = body.map_err(move |error| {
                noted.store(true, Ordering::Relaxed);
                error
            });
            return Ok(Self::Once { body: Some(body.boxed_unsync()), broken });
        }
        let whole = whole_body(body, REPLAYABLE_BYTES).await;
        whole.map(Self::Repeatable).map_err(|_| ProxyError::BodyUnreadable)
    }

    fn take(&mut self) -> Option<StreamBody> {
        match self {
            Self::Repeatable(bytes) => Some(full_body(bytes.clone())),
            Self::Once { body, .. } => body.take(),
        }
    }

    fn is_broken(&self) -> bool {
        matches!(self, Self::Once { broken, .. } if broken.load(Ordering::Relaxed))
    }
}

/// The `error` member of a JSON body.
fn error_in(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("error")?.as_str().map(str::to_owned)
}
