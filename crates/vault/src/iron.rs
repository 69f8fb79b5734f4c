//! Iron seals (`Fe26.2`), byte for byte as iron-session 8 and `@hapi/iron` 7 write and read them.
//!
//! ```text
//! Fe26.2*{password id}*{encryption salt}*{iv}*{ciphertext}*{expiry, ms}*{integrity salt}*{mac}~2
//! ```
//!
//! AES-256-CBC under HMAC-SHA-256 (encrypt, then authenticate the first six parts as text). Each key is one round of
//! PBKDF2-HMAC-SHA-1 over the secret and the salt's hexadecimal *text*; with a single round the strength is that of
//! the secret, which therefore must be random, not a phrase. `~2` is iron-session's own suffix and not authenticated:
//! a seal without it is of its older form, whose content sits under the key `persistent`.
//!
//! These are pure functions: time and entropy are arguments, and the content is bytes. What the bytes mean is decided
//! in [`crate::SealRing`].

mod cipher;
mod key;
mod parts;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::Entropy;
use bowerbird_core::{Secret, SecretBytes, Timestamp};

pub use key::IronKey;
pub(crate) use parts::Parts;

/// The longest seal that is read, in bytes: what browsers keep of one cookie.
pub const MAX_SEAL_BYTES: usize = 4096;
/// The shortest secret, in characters; both libraries refuse less.
pub const MIN_SECRET_CHARS: usize = 32;
/// A seal is good until this long after its expiry, for clocks that differ.
const SKEW_MILLIS: i64 = 60_000;
const PREFIX: &str = "Fe26.2";
const SUFFIX: &str = "~2";

/// Why a seal does not open. The texts are those of `@hapi/iron`, so that logs of both sides can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IronError {
    /// The seal is longer than [`MAX_SEAL_BYTES`].
    #[error("Seal too long (max {MAX_SEAL_BYTES} bytes)")]
    TooLong,
    /// There are not exactly eight parts.
    #[error("Incorrect number of sealed components")]
    PartCount,
    /// The first part is not `Fe26.2`.
    #[error("Wrong mac prefix")]
    Prefix,
    /// The expiry is not a number of milliseconds.
    #[error("Invalid expiration")]
    InvalidExpiry,
    /// The expiry is more than 60 s ago.
    #[error("Expired seal")]
    Expired,
    /// There is no key of the id that the seal names.
    #[error("Cannot find password")]
    UnknownKey,
    /// The seal was not made with this key, or was altered.
    #[error("Bad hmac value")]
    BadMac,
    /// The seal is authentic, and yet its content cannot be decoded: its maker is at fault.
    #[error("Failed parsing sealed object")]
    Undecodable,
    /// The secret has fewer than [`MIN_SECRET_CHARS`] characters.
    #[error("Password string too short (min {MIN_SECRET_CHARS} characters required)")]
    ShortSecret,
}

/// Which form a seal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealForm {
    /// With `~2`: the content is the payload.
    Current,
    /// Without a suffix: the payload is under the key `persistent` (iron-session before 8), or the seal was made by
    /// `@hapi/iron` itself.
    Bare,
}

/// What was in a seal.
#[derive(Clone, Debug)]
pub struct Unsealed {
    /// The content, as it was given to [`seal`]: the libraries put JSON there.
    pub content: SecretBytes,
    /// When the seal ends; None for never.
    pub expires_at: Option<Timestamp>,
    /// Which form it had.
    pub form: SealForm,
}

/// Seals bytes with the key of an id, in iron-session's current form.
///
/// The result is readable by [`unseal`] only up to [`MAX_SEAL_BYTES`]: about 2,800 bytes of content.
pub fn seal(
    content: &[u8],
    key_id: &str,
    key: &IronKey,
    expires_at: Option<Timestamp>,
    entropy: &dyn Entropy,
) -> Secret {
    let mut random = [0; 80];
    entropy.fill(&mut random);
    let (encryption_salt, rest) = random.split_at(32);
    let (iv, integrity_salt) = rest.split_at(16);
    let encryption_salt = cipher::salt_text(encryption_salt);
    let integrity_salt = cipher::salt_text(integrity_salt);
    let ciphertext = cipher::encrypt(&key.encryption_key(&encryption_salt), iv, content);

    let mut text = String::with_capacity(260 + key_id.len() + ciphertext.len().div_ceil(3) * 4);
    for part in [PREFIX, key_id, cipher::salt_str(&encryption_salt)] {
        text.push_str(part);
        text.push('*');
    }
    URL_SAFE_NO_PAD.encode_string(iv, &mut text);
    text.push('*');
    URL_SAFE_NO_PAD.encode_string(&ciphertext, &mut text);
    text.push('*');
    if let Some(at) = expires_at {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", at.as_millis().max(0));
    }
    let mac = cipher::mac_text(&key.integrity_key(&integrity_salt), text.as_bytes());
    for part in [cipher::salt_str(&integrity_salt), cipher::mac_str(&mac)] {
        text.push('*');
        text.push_str(part);
    }
    text.push_str(SUFFIX);
    Secret::new(text)
}

/// Opens a seal: form, expiry, key, authenticity, and only then decryption.
///
/// `find_key` is asked for the key of the id that the seal names (empty where it names none).
pub fn unseal<'k>(
    text: &str,
    find_key: impl FnOnce(&str) -> Option<&'k IronKey>,
    now: Timestamp,
) -> Result<Unsealed, IronError> {
    let parts = Parts::split(text)?;
    parts.check_expiry(now)?;
    let key = find_key(parts.key_id()).ok_or(IronError::UnknownKey)?;
    if !parts.is_authentic(key) {
        return Err(IronError::BadMac);
    }
    parts.decrypt(key)
}

/// Whether something that ends at `expires_at` has ended, with the 60 s of allowance.
pub(crate) fn is_expired(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now.plus_millis(-SKEW_MILLIS))
}
