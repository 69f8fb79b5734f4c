//! The one way to an authorization server's endpoints: every request carries a DPoP proof and the client's
//! authentication, both made anew for every attempt, and a nonce costs at most one more attempt.

use std::sync::Arc;

use bowerbird_core::ports::{Entropy, HttpClient, HttpError, Purpose};
use bowerbird_oauth::{
    AuthorizationServerMetadata, ClientAttempt, ClientAuthentication, DpopExchange, DpopExchangeError, DpopServer,
    NonceStep, OAuthErrorAnswer, SigningKey, TokenErrorCode,
};
use bytes::Bytes;
use http::{Request, Response};

use crate::client_identity::ClientIdentity;
use crate::echo::without_echo;
use crate::servers::Servers;

/// Calls authorization servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AsCaller {
    http: Arc<dyn HttpClient>,
    entropy: Arc<dyn Entropy>,
    servers: Servers,
    client: ClientIdentity,
}

/// What a grant's requests have in common.
pub(crate) struct AsPeer<'a> {
    pub(crate) server: &'a AuthorizationServerMetadata,
    pub(crate) authentication: &'a ClientAuthentication,
    pub(crate) dpop_key: &'a SigningKey,
}

/// A call without an answer that could be read.
#[derive(Debug, thiserror::Error)]
pub enum AsCallError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server asks for a nonce again and again, or for one that it does not give. Nothing was consumed.
    #[error("the authorization server asks for a new DPoP nonce every time")]
    NonceLoop(#[source] DpopExchangeError),
    /// The request could not be signed; our own fault. Nothing was sent.
    #[error("the request to the authorization server could not be signed")]
    Unsignable(#[source] DpopExchangeError),
}

impl AsCaller {
    pub(crate) fn new(
        http: Arc<dyn HttpClient>,
        entropy: Arc<dyn Entropy>,
        servers: Servers,
        client: ClientIdentity,
    ) -> Self {
        Self { http, entropy, servers, client }
    }

    pub(crate) fn client(&self) -> &ClientIdentity {
        &self.client
    }

    /// Sends what `build` makes, once or twice: again when the server wants its nonce in the proof, or when it refuses
    /// the proof or the assertion and its `Date` shows that its clock is another than we thought. Each of these says
    /// that the server has looked at nothing else.
    pub(crate) async fn call(
        &self,
        peer: &AsPeer<'_>,
        purpose: Purpose,
        build: impl Fn(&ClientAttempt<'_>) -> Request<Bytes> + Send + Sync,
    ) -> Result<Response<Bytes>, AsCallError> {
        let origin = peer.server.issuer.as_str();
        let mut exchange = DpopExchange::new(DpopServer::Authorization, self.servers.nonce(origin));
        loop {
            let now = self.servers.now_at(origin);
            let mut request = build(&ClientAttempt {
                client_id: self.client.id(),
                authentication: peer.authentication,
                issuer: &peer.server.issuer,
                now,
                assertion_jti: self.fresh(),
            });
            exchange.sign(&mut request, peer.dpop_key, now, self.fresh(), None).map_err(AsCallError::Unsignable)?;
            let sent = request.body().clone();
            let answer = self.http.send(request, purpose).await?;
            let clock_moved = self.servers.learn(origin, answer.headers());
            match exchange.observe(&answer).map_err(AsCallError::NonceLoop)? {
                NonceStep::Retry => self.servers.nonce_retried(),
                NonceStep::Done
                    if clock_moved && exchange.attempts() < DpopExchange::MAX_ATTEMPTS && blames_the_time(&answer) => {}
                NonceStep::Done => return Ok(without_echo(answer, &sent)),
            }
        }
    }

    /// Whether a nonce of this server is known.
    pub(crate) fn knows_nonce(&self, origin: &str) -> bool {
        self.servers.nonce(origin).is_some()
    }

    /// Learns from an answer that came another way.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(crate) fn http(&self) -> &dyn HttpClient {
        self.http.as_ref()
    }

    /// 128 random bits, for whatever must not be used twice.
    pub(crate) fn fresh(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// The refusals that a wrong `iat` brings, of the proof or of the assertion; nothing was consumed by either.
fn blames_the_time(answer: &Response<Bytes>) -> bool {
    answer.status().is_client_error()
        && OAuthErrorAnswer::read(answer)
            .is_some_and(|error| matches!(error.code, TokenErrorCode::InvalidDpopProof | TokenErrorCode::InvalidClient))
}
