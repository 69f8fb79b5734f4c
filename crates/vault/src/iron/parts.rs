//! A seal taken apart, not yet trusted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::{SecretBytes, Timestamp};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{IronError, IronKey, MAX_SEAL_BYTES, PREFIX, SUFFIX, SealForm, Unsealed, cipher, is_expired};

/// The parts of a seal, borrowed from its text.
pub(crate) struct Parts<'a> {
    /// The first six parts with the stars between them: what the MAC covers.
    covered: &'a str,
    key_id: &'a str,
    encryption_salt: &'a str,
    iv: &'a str,
    ciphertext: &'a str,
    expires_at: Option<Timestamp>,
    integrity_salt: &'a str,
    mac: &'a str,
    form: SealForm,
}

impl<'a> Parts<'a> {
    /// Takes a seal apart; checks its form alone.
    pub(crate) fn split(text: &'a str) -> Result<Self, IronError> {
        if text.len() > MAX_SEAL_BYTES {
            return Err(IronError::TooLong);
        }
        let (bare, form) = match text.strip_suffix(SUFFIX) {
            Some(bare) => (bare, SealForm::Current),
            None => (text, SealForm::Bare),
        };
        let mut stars = bare.split('*');
        let mut parts = [""; 8];
        for part in &mut parts {
            *part = stars.next().ok_or(IronError::PartCount)?;
        }
        if stars.next().is_some() {
            return Err(IronError::PartCount);
        }
        let [prefix, key_id, encryption_salt, iv, ciphertext, expiry, integrity_salt, mac] = parts;
        if prefix != PREFIX {
            return Err(IronError::Prefix);
        }
        // Two stars and two parts follow what the MAC covers; every part is a slice of `bare`.
        let covered = &bare[..bare.len() - integrity_salt.len() - mac.len() - 2];
        let expires_at = parse_expiry(expiry)?;
        Ok(Self { covered, key_id, encryption_salt, iv, ciphertext, expires_at, integrity_salt, mac, form })
    }

    pub(crate) fn key_id(&self) -> &'a str {
        self.key_id
    }

    pub(crate) fn check_expiry(&self, now: Timestamp) -> Result<(), IronError> {
        if is_expired(self.expires_at, now) { Err(IronError::Expired) } else { Ok(()) }
    }

    /// Whether this key made the seal; compares in constant time.
    pub(crate) fn is_authentic(&self, key: &IronKey) -> bool {
        let expected = cipher::mac_text(&key.integrity_key(self.integrity_salt.as_bytes()), self.covered.as_bytes());
        expected.ct_eq(self.mac.as_bytes()).into()
    }

    /// Decrypts; to be called after [`Parts::is_authentic`] said yes to the same key.
    pub(crate) fn decrypt(&self, key: &IronKey) -> Result<Unsealed, IronError> {
        let mut iv = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(self.iv, &mut iv).map_err(|_| IronError::Undecodable)?;
        if length != iv.len() {
            return Err(IronError::Undecodable);
        }
        let mut buffer = Zeroizing::new(Vec::with_capacity(self.ciphertext.len()));
        URL_SAFE_NO_PAD.decode_vec(self.ciphertext, &mut buffer).map_err(|_| IronError::Undecodable)?;
        let mut content = cipher::decrypt(&key.encryption_key(self.encryption_salt.as_bytes()), &iv, buffer)?;
        let content = SecretBytes::new(std::mem::take(&mut *content));
        Ok(Unsealed { content, expires_at: self.expires_at, form: self.form })
    }
}

fn parse_expiry(text: &str) -> Result<Option<Timestamp>, IronError> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IronError::InvalidExpiry);
    }
    text.parse().map(|millis| Some(Timestamp::from_millis(millis))).map_err(|_| IronError::InvalidExpiry)
}
