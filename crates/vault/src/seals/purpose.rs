//! Seals of other kinds: login bindings, CSRF values, one-time codes.

use std::time::Duration;

use bowerbird_core::ports::Entropy;
use bowerbird_core::{Secret, SecretBytes, Timestamp};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{RingKey, SealError, SealRing};
use crate::iron::{IronKey, SealForm};

/// Seals bytes for one purpose.
///
/// Its keys are derived from the ring's secrets and the purpose's name (HKDF-SHA-256), so that what was sealed for
/// one purpose fails to authenticate for every other, and never passes for a device session.
#[derive(Clone, Debug)]
pub struct PurposeSeals(SealRing);

impl PurposeSeals {
    pub(super) fn derive(secrets: &[Secret], purpose: &'static str) -> Self {
        let keys = secrets.iter().enumerate().filter_map(|(index, secret)| {
            let mut text = Zeroizing::new(String::with_capacity(64));
            let mut bytes = Zeroizing::new([0; 32]);
            Hkdf::<Sha256>::new(Some(b"bowerbird seal purpose v1"), secret.expose().as_bytes())
                .expand(purpose.as_bytes(), &mut *bytes)
                .ok()?;
            for byte in bytes.iter() {
                text.push(char::from_digit(u32::from(byte >> 4), 16)?);
                text.push(char::from_digit(u32::from(byte & 15), 16)?);
            }
            Some(RingKey { id: (secrets.len() - index).to_string(), key: IronKey::new(&text).ok()? })
        });
        Self(SealRing { keys: keys.collect(), secrets: Vec::new() })
    }

    /// Seals bytes; at most about 2,800, or the seal is too long to be opened again.
    pub fn seal(&self, content: &[u8], ttl: Duration, now: Timestamp, entropy: &dyn Entropy) -> Secret {
        self.0.seal_bytes(content, ttl, now, entropy)
    }

    /// Opens what [`PurposeSeals::seal`] made for the same purpose.
    pub fn open(&self, text: &str, now: Timestamp) -> Result<SecretBytes, SealError> {
        let (unsealed, _) = self.0.open_bytes(text, now)?;
        match unsealed.form {
            SealForm::Current => Ok(unsealed.content),
            SealForm::Bare => Err(SealError::Malformed),
        }
    }
}
