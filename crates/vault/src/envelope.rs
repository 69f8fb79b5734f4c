//! Authenticated encryption at rest: XChaCha20-Poly1305, with the nonce made and kept out of callers' hands.
//!
//! ```text
//! key-encryption key ─HKDF-SHA-256─▶ sub-key per purpose ─▶ data key of an account ─▶ field
//! ```
//!
//! A sealed value is `version (1) ‖ nonce (24) ‖ ciphertext ‖ tag (16)`. The associated data ties it to its place;
//! moved to another row, field, account, generation or cluster, or left in a row that names another issuer, audience,
//! subject or client key (see [`CredentialPlace`](crate::CredentialPlace)), it does not open.

use bowerbird_core::SecretBytes;
use bowerbird_core::ports::{Entropy, KeyEncryptionKey};
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What a sealed value is longer than its content, in bytes.
pub const SEALED_OVERHEAD: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// A sealed value that does not open: made with another key, moved from another place, or altered. It is kept as it
/// is; the right key may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be opened with the keys at hand; check the encryption key and the cluster id")]
pub struct Unreadable;

/// What a sub-key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Wraps data keys.
    Wrap,
    /// Seals logins under way.
    Login,
    /// Keys the hashes that sealed values are looked up by.
    Index,
    /// Keys the hashes of what clients hold.
    Pepper,
    /// Seals copies of rows in the shared fast tier.
    Snapshot,
    /// Keys the names of those copies.
    SnapshotName,
}

impl KeyPurpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Wrap => "bowerbird v1 wrap",
            Self::Login => "bowerbird v1 login",
            Self::Index => "bowerbird v1 index",
            Self::Pepper => "bowerbird v1 pepper",
            Self::Snapshot => "bowerbird v1 snapshot",
            Self::SnapshotName => "bowerbird v1 snapshot name",
        }
    }
}

/// A 32-byte key that seals and opens; shows nothing and is overwritten when dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Draws a random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(&mut *key);
        Self(key)
    }

    /// Derives the sub-key of a purpose (HKDF-SHA-256, RFC 5869) from a key-encryption key of 32 bytes.
    pub fn derive(kek: &KeyEncryptionKey, purpose: KeyPurpose) -> Result<Self, Unreadable> {
        if kek.key.len() != 32 {
            return Err(Unreadable);
        }
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, kek.key.expose())
            .expand(purpose.label().as_bytes(), &mut *key)
            .map_err(|_| Unreadable)?;
        Ok(Self(key))
    }

    pub(crate) fn from_bytes(bytes: &SecretBytes) -> Result<Self, Unreadable> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(Unreadable);
        }
        key.copy_from_slice(bytes.expose());
        Ok(Self(key))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals content to a place, with a fresh random nonce.
    #[expect(clippy::expect_used, reason = "the cipher refuses only content of more than 256 GiB")]
    pub fn seal(&self, place: &Place, content: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(content.len() + SEALED_OVERHEAD);
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(content);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&XNonce::from(nonce), place.bytes(), (&mut sealed[1 + NONCE_BYTES..]).into())
            .expect("the content is small");
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens what was sealed to the same place with the same key.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<SecretBytes, Unreadable> {
        let (version, rest) = sealed.split_first().ok_or(Unreadable)?;
        if *version != VERSION {
            return Err(Unreadable);
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Unreadable)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Unreadable)?;
        let mut content = Zeroizing::new(ciphertext.to_vec());
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                place.bytes(),
                content.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Unreadable)?;
        Ok(SecretBytes::new(std::mem::take(&mut *content)))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

/// Where a sealed value belongs: the associated data of its encryption.
///
/// Every part is written with its length before it, so that no two lists of parts give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Vec<u8>);

impl Place {
    /// Begins with the version, the kind of value, and the cluster.
    pub fn new(kind: &str, cluster_id: &str) -> Self {
        Self(Vec::with_capacity(320)).and(b"v1").and(kind.as_bytes()).and(cluster_id.as_bytes())
    }

    /// Adds a part.
    #[must_use]
    pub fn and(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
