//! The one way to an authorization server's endpoints: every request carries a fresh DPoP proof, and a nonce costs at most one
//! more attempt.

use bowerbird_oauth::{
    AuthorizationServerMetadata, ClientAttempt, ClientAuthentication, ClientId, DpopExchange, DpopServer, NonceStep,
    OAuthErrorAnswer, SigningKey, TokenErrorCode,
};
use bytes::Bytes;
use http::{Request, Response};

use super::OnDeviceFault;
use crate::error::KitError;
use crate::kit::Kit;
use crate::transport::TransportFault;

/// A call without an answer that could be read.
#[derive(Debug)]
pub(super) enum AsCallFault {
    /// No answer.
    Transport(TransportFault),
    /// It could not be signed as the server wants it. The server has looked at nothing else.
    Unsigned(OnDeviceFault),
}

impl From<AsCallFault> for KitError {
    fn from(fault: AsCallFault) -> Self {
        match fault {
            AsCallFault::Transport(fault) => Self::Offline(fault),
            AsCallFault::Unsigned(fault) => fault.into(),
        }
    }
}

/// What the requests of one grant have in common.
#[derive(Clone, Copy)]
pub(super) struct AsPeer<'a> {
    pub(super) server: &'a AuthorizationServerMetadata,
    pub(super) client_id: &'a ClientId,
    pub(super) dpop_key: &'a SigningKey,
}

impl Kit {
    /// Sends what `build` makes, once or twice: again when the server wants its nonce in the proof, or when it refuses the proof
    /// and its `Date` shows that its clock is another than was thought. Each of these says that it has looked at nothing else.
    pub(super) fn call_issuer(
        &self,
        peer: &AsPeer<'_>,
        build: impl Fn(&ClientAttempt<'_>) -> Request<Bytes>,
    ) -> Result<Response<Bytes>, AsCallFault> {
        let (origin, peers) = (peer.server.issuer.as_str(), &self.on_device.peers);
        let mut exchange = DpopExchange::new(DpopServer::Authorization, peers.nonce(origin));
        loop {
            let now = peers.now_at(origin, self.ports.clock.now());
            let mut request = build(&ClientAttempt {
                client_id: peer.client_id,
                authentication: &ClientAuthentication::None,
                issuer: &peer.server.issuer,
                now,
                assertion_jti: self.random(),
            });
            let signed = exchange.sign(&mut request, peer.dpop_key, now, self.random(), None);
            signed.map_err(|fault| AsCallFault::Unsigned(fault.into()))?;
            let answer = self.ports.transport.send(request).map_err(AsCallFault::Transport)?;
            let clock_moved = peers.learn(origin, answer.headers(), self.ports.clock.now());
            match exchange.observe(&answer).map_err(|fault| AsCallFault::Unsigned(fault.into()))? {
                NonceStep::Retry => {}
                NonceStep::Done
                    if clock_moved && exchange.attempts() < DpopExchange::MAX_ATTEMPTS && blames_the_proof(&answer) => {
                }
                NonceStep::Done => return Ok(answer),
            }
        }
    }

    /// Fresh random bytes.
    pub(super) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.ports.entropy.fill(&mut bytes);
        bytes
    }

    /// A new key for one grant. About one draw in 2³² is no valid scalar.
    pub(super) fn fresh_key(&self) -> SigningKey {
        loop {
            if let Ok(key) = SigningKey::from_scalar(&self.random()) {
                return key;
            }
        }
    }
}

fn blames_the_proof(answer: &Response<Bytes>) -> bool {
    answer.status().is_client_error()
        && OAuthErrorAnswer::read(answer).is_some_and(|error| error.code == TokenErrorCode::InvalidDpopProof)
}
