//! Seals that were opened a moment ago.

use std::sync::Arc;

use bowerbird_core::Timestamp;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::{OpenedSeal, SealError, SealRing};
use crate::iron::{MAX_SEAL_BYTES, is_expired};

/// Opens seals, remembering those that were good by their SHA-256; never the seal itself, and never a bad one.
///
/// Nothing in it needs to be invalidated: a seal says the same for ever, its expiry is checked on every use, and
/// whether the device session is alive is asked elsewhere.
#[derive(Clone, Debug)]
pub struct SealCache {
    ring: Arc<SealRing>,
    opened: Cache<[u8; 32], Arc<OpenedSeal>>,
}

impl SealCache {
    /// Makes a cache of at most `capacity` seals (about 400 bytes each).
    pub fn new(ring: Arc<SealRing>, capacity: u64) -> Self {
        Self { ring, opened: Cache::new(capacity) }
    }

    /// The secrets behind it.
    pub fn ring(&self) -> &SealRing {
        &self.ring
    }

    /// Opens a seal as [`SealRing::open`] does.
    pub fn open_cached(&self, text: &str, now: Timestamp) -> Result<Arc<OpenedSeal>, SealError> {
        if text.len() > MAX_SEAL_BYTES {
            return Err(SealError::Malformed);
        }
        let key: [u8; 32] = Sha256::digest(text).into();
        if let Some(opened) = self.opened.get(&key) {
            return if is_expired(opened.expires_at, now) { Err(SealError::Expired) } else { Ok(opened) };
        }
        let opened = Arc::new(self.ring.open(text, now)?);
        self.opened.insert(key, Arc::clone(&opened));
        Ok(opened)
    }
}
