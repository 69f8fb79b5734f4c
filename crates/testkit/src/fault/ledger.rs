//! The ledger of a network: every secret that its servers minted, every one that was shown to them, where and in what
//! order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::request_log::RecordedRequest;
use crate::threads::random_hex;

/// What a minted or received secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CanaryKind {
    /// An access token, `CANARY-AT-…`.
    AccessToken,
    /// A refresh token, `CANARY-RT-…`.
    RefreshToken,
    /// An authorization code, `CANARY-CODE-…`.
    Code,
    /// A password that a test gave an account, `CANARY-PW-…`.
    Password,
    /// A PKCE verifier that a client sent.
    CodeVerifier,
    /// A client assertion that a client sent.
    ClientAssertion,
}

/// A secret that must not turn up anywhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Canary {
    /// What it is.
    pub kind: CanaryKind,
    /// The secret.
    pub value: String,
}

/// What a server made of a secret that was shown to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was good, and was used.
    Accepted,
    /// It was good, and the request failed for another reason before it was used (a nonce challenge, a bad proof).
    NotConsumed,
    /// It had been used before: single-use tokens and codes only.
    Replayed,
    /// It was good once, but is expired or belongs to a grant that is gone.
    Dead,
    /// The server never gave it.
    Unknown,
    /// It was good, but came with the wrong key, client, verifier or redirect URI.
    Mismatched,
}

/// One time that a secret was shown to the endpoint that it is for.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// When, in milliseconds since the epoch by the network's clock.
    pub at_millis: i64,
    /// Which secret.
    pub canary: Canary,
    /// The origin of the server.
    pub origin: String,
    /// The path.
    pub path: String,
    /// What the server made of it.
    pub verdict: Verdict,
}

/// One time that a minted secret stood anywhere in a request: in its target, a header or the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The origin that received the request.
    pub origin: String,
    /// The path.
    pub path: String,
    /// The secret.
    pub secret: String,
}

/// The ledger; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    canaries: Vec<Canary>,
    minted_at: HashMap<String, String>,
    presentations: Vec<Presentation>,
    sightings: Vec<Sighting>,
}

impl Ledger {
    /// Mints a secret at an origin.
    pub(crate) fn mint(&self, kind: CanaryKind, origin: &str) -> String {
        let prefix = match kind {
            CanaryKind::AccessToken => "AT",
            CanaryKind::RefreshToken => "RT",
            CanaryKind::Code => "CODE",
            CanaryKind::Password => "PW",
            CanaryKind::CodeVerifier | CanaryKind::ClientAssertion => unreachable!("clients make these"),
        };
        let value = format!("CANARY-{prefix}-{}", random_hex::<16>());
        let mut book = self.0.lock();
        book.minted_at.insert(value.clone(), origin.to_owned());
        book.canaries.push(Canary { kind, value: value.clone() });
        value
    }

    /// Notes a secret that a client made and sent.
    pub(crate) fn note_received(&self, kind: CanaryKind, value: &str) {
        self.0.lock().canaries.push(Canary { kind, value: value.to_owned() });
    }

    pub(crate) fn present(&self, request: &RecordedRequest, kind: CanaryKind, value: &str, verdict: Verdict) {
        let canary = Canary { kind, value: value.to_owned() };
        let (origin, path) = (request.origin.clone(), request.path().to_owned());
        let at_millis = request.at_millis;
        self.0.lock().presentations.push(Presentation { at_millis, canary, origin, path, verdict });
    }

    /// Looks for minted secrets anywhere in a request.
    pub(crate) fn sight(&self, request: &RecordedRequest) {
        let headers = request.headers.iter().map(|(_, value)| value.as_bytes());
        let places = headers.chain([request.target.as_bytes(), &request.body]);
        let found: Vec<String> = places.flat_map(secrets_in).collect();
        if found.is_empty() {
            return;
        }
        let (origin, path) = (request.origin.clone(), request.path().to_owned());
        let sighting = |secret| Sighting { origin: origin.clone(), path: path.clone(), secret };
        self.0.lock().sightings.extend(found.into_iter().map(sighting));
    }

    /// Every secret that was minted or received, for sweeps.
    pub fn canaries(&self) -> Vec<Canary> {
        self.0.lock().canaries.clone()
    }

    /// How many secrets of a kind were minted or received.
    pub fn minted(&self, kind: CanaryKind) -> usize {
        self.0.lock().canaries.iter().filter(|canary| canary.kind == kind).count()
    }

    /// Every time that a secret was shown to an endpoint that it is for, oldest first.
    pub fn presentations(&self) -> Vec<Presentation> {
        self.0.lock().presentations.clone()
    }

    /// The presentations of one kind, oldest first.
    pub fn presented(&self, kind: CanaryKind) -> Vec<Presentation> {
        self.0.lock().presentations.iter().filter(|shown| shown.canary.kind == kind).cloned().collect()
    }

    /// Minted secrets that an origin saw in any part of any request.
    pub fn sightings_at(&self, origin: &str) -> Vec<Sighting> {
        self.0.lock().sightings.iter().filter(|seen| seen.origin == origin).cloned().collect()
    }

    /// Spent refresh tokens and codes that were shown again.
    pub fn replays(&self) -> Vec<Presentation> {
        self.0.lock().presentations.iter().filter(|shown| shown.verdict == Verdict::Replayed).cloned().collect()
    }

    /// Panics when a spent refresh token or code was shown again.
    pub fn assert_no_replays(&self) {
        let replays = self.replays();
        assert!(replays.is_empty(), "spent secrets were presented again: {replays:#?}");
    }

    /// Panics when this origin saw any minted secret in any request.
    pub fn assert_nothing_sighted_at(&self, origin: &str) {
        let sightings = self.sightings_at(origin);
        assert!(sightings.is_empty(), "{origin} saw secrets: {sightings:#?}");
    }

    /// Secrets that an origin saw and another one minted. A PDS behind an entryway rightly sees access tokens of its
    /// authorization server; nothing else ought to be here.
    pub fn strangers_secrets_at(&self, origin: &str) -> Vec<Sighting> {
        let book = self.0.lock();
        let strange =
            |seen: &&Sighting| seen.origin == origin && book.minted_at.get(&seen.secret).is_some_and(|at| at != origin);
        book.sightings.iter().filter(strange).cloned().collect()
    }

    /// Panics when an origin saw a secret that another origin minted.
    pub fn assert_no_strangers_secrets_at(&self, origin: &str) {
        let strangers = self.strangers_secrets_at(origin);
        assert!(strangers.is_empty(), "{origin} saw secrets of others: {strangers:#?}");
    }
}

/// Every `CANARY-<KIND>-<hex>` in some bytes.
fn secrets_in(bytes: &[u8]) -> Vec<String> {
    const START: &[u8] = b"CANARY-";
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(START.len()).position(|window| window == START) {
        let candidate = &rest[at..];
        let end = candidate.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-'));
        let (secret, after) = candidate.split_at(end.unwrap_or(candidate.len()));
        found.push(String::from_utf8_lossy(secret).into_owned());
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_between_other_bytes() {
        assert_eq!(secrets_in(b"a=CANARY-RT-0a&b=CANARY-AT-ff"), ["CANARY-RT-0a", "CANARY-AT-ff"]);
        assert!(secrets_in(b"CANAR").is_empty());
    }
}
