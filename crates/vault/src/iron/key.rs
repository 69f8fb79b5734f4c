//! A secret made ready for sealing.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{IronError, MIN_SECRET_CHARS};

/// A secret's keyed PBKDF2 function, set up once: every seal derives its own two keys from it.
#[derive(Clone)]
pub struct IronKey {
    encryption: Hmac<Sha1>,
    integrity: Hmac<Sha1>,
}

impl IronKey {
    /// Takes one secret for encryption and integrity, as iron-session does.
    pub fn new(secret: &str) -> Result<Self, IronError> {
        Self::split(secret, secret)
    }

    /// Takes two secrets, as `@hapi/iron` can.
    pub fn split(encryption: &str, integrity: &str) -> Result<Self, IronError> {
        Ok(Self { encryption: keyed(encryption)?, integrity: keyed(integrity)? })
    }

    pub(super) fn encryption_key(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        derive(&self.encryption, salt)
    }

    pub(super) fn integrity_key(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        derive(&self.integrity, salt)
    }
}

impl fmt::Debug for IronKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IronKey([redacted])")
    }
}

fn keyed(secret: &str) -> Result<Hmac<Sha1>, IronError> {
    if secret.chars().count() < MIN_SECRET_CHARS {
        return Err(IronError::ShortSecret);
    }
    // HMAC takes keys of any length, so that the error cannot happen.
    Hmac::new_from_slice(secret.as_bytes()).map_err(|_| IronError::ShortSecret)
}

/// PBKDF2 (RFC 8018 §5.2) with one round and 32 bytes of output: the first block of HMAC-SHA-1 and twelve bytes of
/// the second. Written out, so that the keyed state of the secret is made once and the salt is hashed once.
fn derive(prf: &Hmac<Sha1>, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut first = prf.clone();
    first.update(salt);
    let mut second = first.clone();
    first.update(&1u32.to_be_bytes());
    second.update(&2u32.to_be_bytes());
    let mut key = Zeroizing::new([0; 32]);
    key[..20].copy_from_slice(&first.finalize().into_bytes());
    key[20..].copy_from_slice(&second.finalize().into_bytes()[..12]);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn derivation_is_pbkdf2_with_one_round(secret in "[ -~]{32,90}", salt in proptest::collection::vec(any::<u8>(), 0..100)) {
            let expected: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha1, 32>(secret.as_bytes(), &salt, 1);
            let key = IronKey::new(&secret).unwrap();
            prop_assert_eq!(*key.encryption_key(&salt), expected);
            prop_assert_eq!(*key.integrity_key(&salt), expected);
        }
    }

    #[test]
    fn short_secrets_are_refused_by_characters_not_bytes() {
        assert_eq!(IronKey::new(&"ž".repeat(31)).err(), Some(IronError::ShortSecret));
        assert!(IronKey::new(&"ž".repeat(32)).is_ok());
    }
}
