//! The nonce step machine: one request may cost two attempts, never three (RFC 9449 §8 and §9).

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, InvalidHeaderValue},
};

use super::proof::{htu_of, proof_for};
use super::{DPOP_HEADER, DpopChallenge, DpopNonce};
use crate::{
    Secret, SigningKey, Timestamp,
    token::{OAuthErrorAnswer, TokenErrorCode},
};

/// Which kind of server answers: the two ask for a nonce in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpopServer {
    /// Asks with 400 and the JSON error `use_dpop_nonce` (RFC 9449 §8).
    Authorization,
    /// Asks with 401 and `WWW-Authenticate: DPoP error="use_dpop_nonce"` (RFC 9449 §9).
    Resource,
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceStep {
    /// The answer is the answer, of whatever status.
    Done,
    /// Build the request anew (fresh `jti`, fresh client assertion), sign it again, send it once more.
    Retry,
}

/// One logical request and its attempts: signs each, learns every nonce, ends after the second.
///
/// ```
/// # use bowerbird_oauth::{SigningKey, Timestamp, dpop::{DpopExchange, DpopServer, NonceStep}};
/// # use bytes::Bytes;
/// # fn send(request: http::Request<Bytes>) -> http::Response<Bytes> { http::Response::new(request.into_body()) }
/// # let key = SigningKey::from_scalar(&[1; 32])?;
/// # let (now, mut random) = (Timestamp::EPOCH, 0_u8);
/// # let mut fresh_jti = || { random += 1; [random; 16] };
/// let mut exchange = DpopExchange::new(DpopServer::Authorization, None);
/// let answer = loop {
///     let mut request = http::Request::post("https://as.example/oauth/token").body(Bytes::new())?;
///     exchange.sign(&mut request, &key, now, fresh_jti(), None)?;
///     let answer = send(request);
///     if exchange.observe(&answer)? == NonceStep::Done {
///         break answer;
///     }
/// };
/// let nonce_for_the_next_request = exchange.into_nonce();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DpopExchange {
    server: DpopServer,
    nonce: Option<DpopNonce>,
    attempts: u8,
    last_jti: Option<[u8; 16]>,
}

impl DpopExchange {
    /// Most attempts of one logical request.
    pub const MAX_ATTEMPTS: u8 = 2;

    /// Begins with the nonce that this origin gave last, when one is known.
    pub fn new(server: DpopServer, nonce: Option<DpopNonce>) -> Self {
        Self { server, nonce, attempts: 0, last_jti: None }
    }

    /// Puts the proof, and the access token when there is one, on a request; counts as one attempt.
    ///
    /// `jti` must be fresh: the one of the attempt before is refused. So is a third attempt.
    pub fn sign<B>(
        &mut self,
        request: &mut Request<B>,
        key: &SigningKey,
        now: Timestamp,
        jti: [u8; 16],
        access_token: Option<&Secret>,
    ) -> Result<(), DpopExchangeError> {
        if self.attempts >= Self::MAX_ATTEMPTS {
            return Err(DpopExchangeError::DpopNonceLoop);
        }
        if self.last_jti == Some(jti) {
            return Err(DpopExchangeError::JtiReused);
        }
        let htu = htu_of(request.uri()).ok_or(DpopExchangeError::NotAbsolute)?;
        let authorization = access_token.map(authorization_value).transpose()?;
        let proof = proof_for(key, request.method(), &htu, now, &jti, self.nonce.as_ref(), access_token);
        let headers = request.headers_mut();
        headers.insert(DPOP_HEADER, sensitive(proof.expose())?);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        self.attempts += 1;
        self.last_jti = Some(jti);
        Ok(())
    }

    /// Looks at an answer with its whole body; see [`Self::observe_parts`].
    pub fn observe<B: AsRef<[u8]>>(&mut self, answer: &Response<B>) -> Result<NonceStep, DpopExchangeError> {
        self.observe_parts(answer.status(), answer.headers(), answer.body().as_ref())
    }

    /// Looks at an answer: learns its nonce, and says whether the request must be sent once more.
    ///
    /// A resource server's answer may be looked at with an empty `body`, before the body is read.
    pub fn observe_parts(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<NonceStep, DpopExchangeError> {
        let fresh = DpopNonce::from_headers(headers);
        let given = fresh.is_some();
        if given {
            self.nonce = fresh;
        }
        if !self.asks_for_nonce(status, headers, body) {
            return Ok(NonceStep::Done);
        }
        if self.attempts >= Self::MAX_ATTEMPTS {
            return Err(DpopExchangeError::DpopNonceLoop);
        }
        if given { Ok(NonceStep::Retry) } else { Err(DpopExchangeError::NonceMissing) }
    }

    /// The newest nonce, for the next proof.
    pub fn nonce(&self) -> Option<&DpopNonce> {
        self.nonce.as_ref()
    }

    /// The newest nonce, for the cache of this origin.
    pub fn into_nonce(self) -> Option<DpopNonce> {
        self.nonce
    }

    /// How often the request was signed so far.
    pub fn attempts(&self) -> u8 {
        self.attempts
    }

    fn asks_for_nonce(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        match self.server {
            DpopServer::Authorization => {
                status == StatusCode::BAD_REQUEST
                    && OAuthErrorAnswer::read_parts(status, body)
                        .is_some_and(|answer| answer.code == TokenErrorCode::UseDpopNonce)
            }
            DpopServer::Resource => {
                status == StatusCode::UNAUTHORIZED
                    && DpopChallenge::from_headers(headers).is_some_and(|challenge| challenge.wants_nonce())
            }
        }
    }
}

fn authorization_value(access_token: &Secret) -> Result<HeaderValue, DpopExchangeError> {
    let text = zeroize::Zeroizing::new(format!("DPoP {}", access_token.expose()));
    Ok(sensitive(&text)?)
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why a request could not be signed, or why its nonce exchange ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum DpopExchangeError {
    /// The server asks for another nonce although it just got its own.
    #[error("the server asked for a new DPoP nonce again after getting its own; the call was ended after two attempts")]
    DpopNonceLoop,
    /// The server asks for a nonce, but gives none that can be used.
    #[error("the server asks for a DPoP nonce but gives no usable one")]
    NonceMissing,
    /// The caller used the proof id of the attempt before.
    #[error("the proof id (jti) of the attempt before was used again; draw fresh random bytes for each attempt")]
    JtiReused,
    /// The request's target is not an absolute URL.
    #[error("the request's target is not an absolute URL")]
    NotAbsolute,
    /// The access token has characters that no header can carry.
    #[error("the access token has characters that no header can carry")]
    BadAccessToken(#[from] InvalidHeaderValue),
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
