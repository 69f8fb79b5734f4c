//! DPoP as a server checks it (RFC 9449 §4.3), with the real server's windows, texts and nonces. Written apart from the
//! product's own code on purpose: a shared mistake would go unnoticed.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use ring::{digest, hmac};
use serde_json::Value;

use super::network_clock::NetworkClock;
use super::request_log::RecordedRequest;
use crate::threads::{hex, random};

/// Seconds that a proof may be old, and new, measured on the real server.
const OLDEST_PROOF: i64 = 190;
const NEWEST_PROOF: i64 = 180;

/// Why a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProofFault {
    /// No proof came.
    Missing,
    /// The nonce is missing or old.
    Nonce(String),
    /// Anything else.
    Invalid(String),
}

/// A proof that passed.
#[derive(Clone, Debug)]
pub(crate) struct CheckedProof {
    /// The thumbprint of its key.
    pub(crate) jkt: String,
}

/// The proof checks and nonces of one origin.
#[derive(Debug)]
pub(crate) struct DpopGate {
    origin: String,
    clock: NetworkClock,
    nonces: Mutex<Nonces>,
    seen: Mutex<HashSet<String>>,
}

#[derive(Debug)]
struct Nonces {
    secret: [u8; 32],
    rotation_millis: i64,
    required: bool,
}

impl DpopGate {
    pub(crate) fn new(origin: &str, clock: &NetworkClock) -> Self {
        let nonces = Nonces { secret: random(), rotation_millis: 60_000, required: true };
        Self { origin: origin.to_owned(), clock: clock.clone(), nonces: Mutex::new(nonces), seen: Mutex::default() }
    }

    /// Makes every nonce given so far invalid.
    pub(crate) fn renew_secret(&self) {
        self.nonces.lock().secret = random();
    }

    pub(crate) fn set_rotation_millis(&self, millis: i64) {
        self.nonces.lock().rotation_millis = millis.max(1);
    }

    pub(crate) fn require_nonce(&self, required: bool) {
        self.nonces.lock().required = required;
    }

    /// The nonce that answers carry: the next interval's, so that it lives for two to three intervals.
    pub(crate) fn nonce_to_hand_out(&self) -> String {
        self.nonces.lock().at(self.clock.now_millis(), 1)
    }

    /// Checks the proof of a request; `access_token` asks for a matching `ath`.
    pub(crate) fn check(
        &self,
        request: &RecordedRequest,
        access_token: Option<&str>,
    ) -> Result<CheckedProof, ProofFault> {
        let invalid = |text: &str| ProofFault::Invalid(text.to_owned());
        let proof = match request.header_all("dpop")[..] {
            [] => return Err(ProofFault::Missing),
            [proof] => proof,
            _ => return Err(invalid("DPoP header must contain a single proof")),
        };
        let jws = Jws::parse(proof).ok_or_else(|| invalid("Invalid DPoP proof"))?;
        if jws.header["typ"] != "dpop+jwt" || jws.header["alg"] != "ES256" {
            return Err(invalid("Invalid DPoP proof type or algorithm"));
        }
        let jwk = jws.header.get("jwk").ok_or_else(|| invalid("Missing key in DPoP proof"))?;
        if jwk.get("d").is_some() {
            return Err(invalid("Private key in DPoP proof"));
        }
        if !jws.is_signed_by(jwk) {
            return Err(invalid("Invalid DPoP proof signature"));
        }
        let claims = &jws.claims;
        let age = claims["iat"].as_i64().map(|iat| self.clock.now_seconds() - iat);
        if !age.is_some_and(|age| (-NEWEST_PROOF..=OLDEST_PROOF).contains(&age)) {
            return Err(invalid("\"iat\" claim timestamp check failed"));
        }
        let jti =
            claims["jti"].as_str().filter(|jti| !jti.is_empty()).ok_or_else(|| invalid("DPoP \"jti\" missing"))?;
        if claims["htm"] != request.method.as_str() {
            return Err(invalid("DPoP \"htm\" mismatch"));
        }
        let expected = format!("{}{}", self.origin, request.path());
        if claims["htu"].as_str().map(without_query) != Some(expected.as_str()) {
            return Err(invalid("DPoP \"htu\" mismatch"));
        }
        self.check_nonce(claims.get("nonce"))?;
        let expected_ath = access_token.map(|token| base64url_sha256(token.as_bytes()));
        if claims.get("ath").and_then(Value::as_str) != expected_ath.as_deref() {
            return Err(invalid("DPoP \"ath\" mismatch"));
        }
        if !self.seen.lock().insert(jti.to_owned()) {
            return Err(invalid("DPoP proof replayed"));
        }
        let jkt = thumbprint(jwk).ok_or_else(|| invalid("Invalid key in DPoP proof"))?;
        Ok(CheckedProof { jkt })
    }

    fn check_nonce(&self, nonce: Option<&Value>) -> Result<(), ProofFault> {
        let nonces = self.nonces.lock();
        let now = self.clock.now_millis();
        match nonce {
            None if !nonces.required => Ok(()),
            None => Err(ProofFault::Nonce("Authorization server requires nonce in DPoP proof".to_owned())),
            Some(Value::String(nonce)) if (-1..=1).any(|shift| nonces.at(now, shift) == *nonce) => Ok(()),
            Some(_) => Err(ProofFault::Nonce("DPoP \"nonce\" mismatch".to_owned())),
        }
    }
}

impl Nonces {
    fn at(&self, now_millis: i64, shift: i64) -> String {
        let interval = now_millis.div_euclid(self.rotation_millis) + shift;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), &interval.to_be_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }
}

/// A compact JWS, split and decoded.
pub(crate) struct Jws {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    signing_input: String,
    signature: Vec<u8>,
}

impl Jws {
    pub(crate) fn parse(compact: &str) -> Option<Self> {
        let (signing_input, signature) = compact.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        let object = |part: &str| {
            let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signing_input: signing_input.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    pub(crate) fn is_signed_by(&self, jwk: &Value) -> bool {
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok().filter(|c| c.len() == 32);
        let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else { return false };
        if jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
            return false;
        }
        let point = [&[4][..], &x, &y].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(self.signing_input.as_bytes(), &self.signature).is_ok()
    }
}

/// The claims of a compact JWS, unverified; null when it is none.
pub(crate) fn claims_of(compact: &str) -> Value {
    Jws::parse(compact).map_or(Value::Null, |jws| jws.claims)
}

/// The thumbprint of an EC key (RFC 7638).
pub(crate) fn thumbprint(jwk: &Value) -> Option<String> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        member("crv")?,
        member("kty")?,
        member("x")?,
        member("y")?
    );
    Some(base64url_sha256(canonical.as_bytes()))
}

/// base64url of the SHA-256.
pub(crate) fn base64url_sha256(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bytes))
}

/// Hexadecimal SHA-256.
pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
