//! Copies of rows, sealed: what the shared fast tier holds of a device session or an account. Never of a credential.
//!
//! The tier learns nothing but how many there are and how large: names are keyed hashes, content is sealed to its place.

use std::sync::Arc;

use bowerbird_core::SecretBytes;
use bowerbird_core::ports::{Entropy, KeyEncryptionKey, KeyProvider};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::envelope::{KeyPurpose, Place, SealingKey, Unreadable};

/// What is copied: which kind of row, in which form, and whose.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPlace<'a> {
    /// Such as `device` or `account`.
    pub kind: &'static str,
    /// The form of the content. Another release with another form does not find this one, and so cannot misread it.
    pub form: u8,
    /// The row's id.
    pub id: &'a str,
}

/// A sealed copy and the name to keep it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSnapshot {
    /// Says nothing about the row to who does not hold the keys.
    pub name: String,
    /// Opens only at its place.
    pub sealed: Vec<u8>,
}

/// Seals and opens copies of rows, by keys of this purpose alone. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotSeal {
    cluster_id: Arc<str>,
    keys: Arc<dyn KeyProvider>,
    entropy: Arc<dyn Entropy>,
}

impl SnapshotSeal {
    /// For the copies of one installation.
    pub fn new(cluster_id: &str, keys: Arc<dyn KeyProvider>, entropy: Arc<dyn Entropy>) -> Self {
        Self { cluster_id: cluster_id.into(), keys, entropy }
    }

    /// The name that the copy of a place is kept under. It changes with the key-encryption key, as the seal does: after
    /// a rotation every copy is made anew, and while instances differ they do not find each other's.
    pub async fn name(&self, place: SnapshotPlace<'_>) -> Result<String, Unreadable> {
        self.name_by(&self.active().await?, place)
    }

    /// Seals a copy.
    pub async fn seal(&self, place: SnapshotPlace<'_>, content: &[u8]) -> Result<SealedSnapshot, Unreadable> {
        let kek = self.active().await?;
        let key = SealingKey::derive(&kek, KeyPurpose::Snapshot)?;
        let sealed = key.seal(&self.associated(&kek.id, place), content, self.entropy.as_ref());
        Ok(SealedSnapshot { name: self.name_by(&kek, place)?, sealed })
    }

    /// Opens what [`Self::seal`] made for the same place.
    pub async fn open(&self, place: SnapshotPlace<'_>, sealed: &[u8]) -> Result<SecretBytes, Unreadable> {
        let kek = self.active().await?;
        SealingKey::derive(&kek, KeyPurpose::Snapshot)?.open(&self.associated(&kek.id, place), sealed)
    }

    async fn active(&self) -> Result<KeyEncryptionKey, Unreadable> {
        // Without a key there are no copies, and nothing else is lost: the vault says so loudly by itself.
        self.keys.active().await.map_err(|_| Unreadable)
    }

    fn name_by(&self, kek: &KeyEncryptionKey, place: SnapshotPlace<'_>) -> Result<String, Unreadable> {
        let key = SealingKey::derive(kek, KeyPurpose::SnapshotName)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).map_err(|_| Unreadable)?;
        mac.update(self.associated(&kek.id, place).bytes());
        let hash = mac.finalize().into_bytes();
        let half = hash.iter().take(16).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
        Ok(format!("snapshot:{half:032x}"))
    }

    fn associated(&self, kek_id: &str, place: SnapshotPlace<'_>) -> Place {
        Place::new("snapshot", &self.cluster_id)
            .and(kek_id.as_bytes())
            .and(place.kind.as_bytes())
            .and(&[place.form])
            .and(place.id.as_bytes())
    }
}

impl std::fmt::Debug for SnapshotSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotSeal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::{FixedKeys, SeededEntropy};

    use super::*;

    const PLACE: SnapshotPlace<'static> = SnapshotPlace { kind: "device", form: 1, id: "0123" };

    fn by(cluster: &str, keys: FixedKeys) -> SnapshotSeal {
        SnapshotSeal::new(cluster, Arc::new(keys), Arc::new(SeededEntropy::new(1)))
    }

    #[tokio::test]
    async fn a_copy_opens_at_its_place_alone() {
        let seal = by("cluster", FixedKeys::one());
        let made = seal.seal(PLACE, b"content").await.unwrap();
        assert_eq!(made.name, seal.name(PLACE).await.unwrap());
        assert_eq!(seal.open(PLACE, &made.sealed).await.unwrap().expose(), b"content");
        for other in [
            SnapshotPlace { kind: "account", ..PLACE },
            SnapshotPlace { form: 2, ..PLACE },
            SnapshotPlace { id: "0124", ..PLACE },
        ] {
            assert!(seal.open(other, &made.sealed).await.is_err(), "{other:?}");
            assert_ne!(seal.name(other).await.unwrap(), made.name, "{other:?}");
        }
        let elsewhere = by("other", FixedKeys::one());
        let rotated = by("cluster", FixedKeys::of(&[("knew", [8; 32]), ("ktest", [7; 32])]));
        for other in [elsewhere, rotated] {
            assert!(other.open(PLACE, &made.sealed).await.is_err());
            assert_ne!(other.name(PLACE).await.unwrap(), made.name);
        }
        for at in 0..made.sealed.len() {
            let mut altered = made.sealed.clone();
            altered[at] ^= 1;
            assert!(seal.open(PLACE, &altered).await.is_err(), "byte {at}");
        }
    }
}
