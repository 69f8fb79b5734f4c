//! Seals: the opaque strings that clients hold for their device session.
//!
//! A seal is an Iron seal (see [`crate::iron`]) around `{did, sid, createdAt, lastAccessed}`, times in milliseconds.
//! It names a device session and carries no token; whether that session is alive is for its row to say, not for the
//! seal. An iron-session 8 of the same secrets opens it, and we open what it makes.
//!
//! # Changing the secret
//!
//! Secrets are listed newest first and counted from the end: the oldest is `1`. So `[old]` is iron-session's
//! `{1: old}`, and `[new, old]` its `{1: old, 2: new}`. To rotate:
//!
//! 1. Put a new secret in front. New seals use it; old ones still open, and [`OpenedSeal::sealed_with_newest`] tells
//!    that a client should get a fresh one.
//! 2. When the longest session has passed, take the oldest secret off the end. This renumbers the rest, which does no
//!    harm here: the number is a hint, and every listed secret is tried. Where iron-session reads the same seals, put
//!    a fresh random secret in the place of the oldest instead, so that the numbers stay.
//!
//! Taking a secret out at once ends every session that was last sealed with it.
//!
//! # Seals that name no device
//!
//! The seals of `@tijs/atproto-oauth-hono` say `{did}` and perhaps two times: all devices of a person are one there. Such a
//! seal names the device [`unnamed_device`] of its account, which exists where its sign-in was taken over, and ends like any
//! other.

mod cache;
mod purpose;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bowerbird_core::ports::Entropy;
use bowerbird_core::{DeviceSessionId, Did, Secret, Timestamp};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::RenewalTexts;
use crate::iron::{self, IronError, IronKey, Parts, SealForm, Unsealed};

pub use cache::SealCache;
pub use purpose::PurposeSeals;

/// More secrets than this are a mistake, and would make refusing a forged seal slow.
const MAX_SECRETS: usize = 16;

/// What a seal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealPayload {
    /// The account that was active when it was sealed: a hint for clients, never an authority.
    pub did: Did,
    /// The device session that it names.
    pub sid: DeviceSessionId,
    /// When the session began.
    pub created_at: Timestamp,
    /// When the session was last used, as of sealing.
    pub last_accessed: Timestamp,
}

/// A seal that opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSeal {
    /// What it says.
    pub payload: SealPayload,
    /// Whether the newest secret sealed it; if not, the client should be given a fresh seal.
    pub sealed_with_newest: bool,
    /// When it ends; None for never.
    pub expires_at: Option<Timestamp>,
}

/// Why a seal does not open. Whoever presents it is unauthenticated; none of these is a server fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not a seal.
    #[error("that is not a seal")]
    Malformed,
    /// The seal names a secret that is not listed (any more).
    #[error("the seal was made with a secret that is not in use; sign in again")]
    UnknownKey,
    /// The seal was altered, or made with another secret.
    #[error("the seal is not authentic; sign in again")]
    BadMac,
    /// The seal's time is over.
    #[error("the seal has expired; sign in again")]
    Expired,
    /// The seal is authentic but does not name a device session and an account.
    #[error("the seal is not one of a device session; sign in again")]
    WrongPayload,
}

/// Why a list of secrets is not usable; positions count from 1, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealRingError {
    /// There is no secret.
    #[error("no cookie secret is configured; set one of at least 32 random characters")]
    Empty,
    /// A secret is too short.
    #[error("cookie secret number {position} is shorter than 32 characters; make one with `openssl rand -hex 32`")]
    TooShort {
        /// Which.
        position: usize,
    },
    /// A secret is listed twice.
    #[error("cookie secret number {position} is listed twice; remove one")]
    Duplicate {
        /// The second of the two.
        position: usize,
    },
    /// There are more than sixteen.
    #[error("more than {MAX_SECRETS} cookie secrets are configured; remove the oldest")]
    TooMany,
}

/// The secrets that seal and open, parsed once.
#[derive(Clone, Debug)]
pub struct SealRing {
    /// Newest first.
    keys: Vec<RingKey>,
    /// The secrets themselves, from which [`PurposeSeals`] derive theirs.
    secrets: Vec<Secret>,
}

#[derive(Clone, Debug)]
struct RingKey {
    id: String,
    key: IronKey,
}

impl SealRing {
    /// Takes the secrets, newest first, each of at least 32 characters.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, SealRingError> {
        if secrets.is_empty() {
            return Err(SealRingError::Empty);
        }
        if secrets.len() > MAX_SECRETS {
            return Err(SealRingError::TooMany);
        }
        let mut keys = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            let position = index + 1;
            let key = IronKey::new(secret.expose()).map_err(|_| SealRingError::TooShort { position })?;
            if secrets[..index].iter().any(|earlier| earlier.matches(secret.expose())) {
                return Err(SealRingError::Duplicate { position });
            }
            keys.push(RingKey { id: (secrets.len() - index).to_string(), key });
        }
        Ok(Self { keys, secrets })
    }

    /// Seals a payload with the newest secret. `ttl` of zero never expires, as in iron-session.
    pub fn seal(&self, payload: &SealPayload, ttl: Duration, now: Timestamp, entropy: &dyn Entropy) -> Secret {
        let SealPayload { did, sid, created_at, last_accessed } = payload;
        let mut json = Zeroizing::new(String::with_capacity(did.as_str().len() + 128));
        // By their grammars neither identifier holds a character that JSON would escape, and writing to a String
        // cannot fail.
        let _ = write!(
            json,
            r#"{{"did":"{did}","sid":"{sid}","createdAt":{},"lastAccessed":{}}}"#,
            created_at.as_millis(),
            last_accessed.as_millis()
        );
        self.seal_bytes(json.as_bytes(), ttl, now, entropy)
    }

    /// Opens a seal and reads what it says.
    pub fn open(&self, text: &str, now: Timestamp) -> Result<OpenedSeal, SealError> {
        let (unsealed, sealed_with_newest) = self.open_bytes(text, now)?;
        let json = unsealed.content.expose();
        let wire = match unsealed.form {
            SealForm::Current => serde_json::from_slice::<WirePayload<'_>>(json),
            SealForm::Bare => serde_json::from_slice::<Legacy<'_>>(json).map(|legacy| legacy.persistent),
        };
        let payload = wire.ok().and_then(WirePayload::into_payload).ok_or(SealError::WrongPayload)?;
        Ok(OpenedSeal { payload, sealed_with_newest, expires_at: unsealed.expires_at })
    }

    /// Seals of another kind, which never open as a device session's and the other way round.
    pub fn for_purpose(&self, purpose: &'static str) -> PurposeSeals {
        PurposeSeals::derive(&self.secrets, purpose)
    }

    /// The refresh strings of apps, under keys of their own.
    pub fn renewal_texts(&self) -> RenewalTexts {
        RenewalTexts::derive(&self.secrets)
    }

    fn seal_bytes(&self, content: &[u8], ttl: Duration, now: Timestamp, entropy: &dyn Entropy) -> Secret {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let expires_at = (millis > 0).then(|| now.plus_millis(millis));
        let newest = &self.keys[0];
        iron::seal(content, &newest.id, &newest.key, expires_at, entropy)
    }

    fn open_bytes(&self, text: &str, now: Timestamp) -> Result<(Unsealed, bool), SealError> {
        let parts = Parts::split(text)?;
        parts.check_expiry(now)?;
        // The id tells which secret to try first. It is no more than a hint: all secrets are ours and for this one
        // use, and the MAC covers the id.
        let named = self.keys.iter().position(|entry| entry.id == parts.key_id());
        let others = (0..self.keys.len()).filter(|index| Some(*index) != named);
        let mut candidates = named.into_iter().chain(others);
        let Some(index) = candidates.find(|index| parts.is_authentic(&self.keys[*index].key)) else {
            return Err(if named.is_some() { SealError::BadMac } else { SealError::UnknownKey });
        };
        let unsealed = parts.decrypt(&self.keys[index].key)?;
        Ok((unsealed, index == 0))
    }
}

impl From<IronError> for SealError {
    fn from(error: IronError) -> Self {
        match error {
            IronError::TooLong | IronError::PartCount | IronError::Prefix | IronError::InvalidExpiry => Self::Malformed,
            IronError::Expired => Self::Expired,
            IronError::UnknownKey | IronError::ShortSecret => Self::UnknownKey,
            IronError::BadMac => Self::BadMac,
            IronError::Undecodable => Self::WrongPayload,
        }
    }
}

/// The device that a seal names which has an account and no device.
pub fn unnamed_device(did: &Did) -> DeviceSessionId {
    let digest = Sha256::new().chain_update(b"bowerbird unnamed device").chain_update(did.as_str()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    DeviceSessionId::from_bytes(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePayload<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    sid: Option<Cow<'a, str>>,
    created_at: Option<i64>,
    last_accessed: Option<i64>,
}

#[derive(Deserialize)]
struct Legacy<'a> {
    #[serde(borrow)]
    persistent: WirePayload<'a>,
}

impl WirePayload<'_> {
    fn into_payload(self) -> Option<SealPayload> {
        let did = Did::parse(&self.did).ok()?;
        let (sid, created_at, last_accessed) = match &self.sid {
            Some(sid) => (DeviceSessionId::parse(sid).ok()?, self.created_at?, self.last_accessed?),
            None => (unnamed_device(&did), self.created_at.unwrap_or(0), self.last_accessed.unwrap_or(0)),
        };
        Some(SealPayload {
            did,
            sid,
            created_at: Timestamp::from_millis(created_at),
            last_accessed: Timestamp::from_millis(last_accessed),
        })
    }
}
