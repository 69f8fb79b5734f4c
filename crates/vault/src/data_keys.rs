//! Data keys: one random key per account, stored wrapped by a key-encryption key.
//!
//! Removing an account's data key makes everything sealed under it unreadable, backups included. Re-wrapping all keys
//! under a newer key-encryption key will live beside this file.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{DataKeyStore, Entropy, KeyProvider, KeyProviderError, StoreError};
use bowerbird_core::{AccountId, WrappedDataKey};
use moka::sync::Cache;

use crate::envelope::{KeyPurpose, Place, SealingKey, Unreadable};

/// How long an unused data key stays in memory.
const IDLE: Duration = Duration::from_mins(15);

/// Why a data key is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// The store did not answer.
    #[error("the account's data key cannot be read right now")]
    Store(#[from] StoreError),
    /// The provider of key-encryption keys did not answer, or is misconfigured.
    #[error("the key-encryption key is not at hand")]
    Keys(#[from] KeyProviderError),
    /// The data key was wrapped with another key-encryption key, or is missing. Nothing was changed.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Gives data keys, and remembers them.
pub(crate) struct DataKeys {
    cluster_id: String,
    store: Arc<dyn DataKeyStore>,
    keys: Arc<dyn KeyProvider>,
    entropy: Arc<dyn Entropy>,
    opened: Cache<AccountId, OpenedDataKey>,
}

#[derive(Clone)]
struct OpenedDataKey {
    wrapped: Arc<Vec<u8>>,
    key: Arc<SealingKey>,
}

impl DataKeys {
    pub(crate) fn new(
        cluster_id: String,
        store: Arc<dyn DataKeyStore>,
        keys: Arc<dyn KeyProvider>,
        entropy: Arc<dyn Entropy>,
        capacity: u64,
    ) -> Self {
        let opened = Cache::builder().max_capacity(capacity).time_to_idle(IDLE).build();
        Self { cluster_id, store, keys, entropy, opened }
    }

    /// The key that an account's fields were sealed with.
    pub(crate) async fn for_opening(&self, account: AccountId) -> Result<Arc<SealingKey>, DataKeyError> {
        if let Some(opened) = self.opened.get(&account) {
            return Ok(opened.key);
        }
        let wrapped = self.store.find(account).await?.ok_or(Unreadable)?;
        self.unwrap(wrapped).await
    }

    /// The key to seal a new grant with, made if the account has none.
    ///
    /// Always asks the store: a key that is only remembered may be gone from it (the account was removed and came
    /// back), and what is sealed with such a key could be read by nobody after a restart.
    pub(crate) async fn for_sealing(&self, account: AccountId) -> Result<Arc<SealingKey>, DataKeyError> {
        let wrapped = match self.store.find(account).await? {
            Some(wrapped) => wrapped,
            None => self.store.ensure(&self.make(account).await?).await?,
        };
        self.unwrap(wrapped).await
    }

    /// Forgets the account's key, so that the store is asked again.
    pub(crate) fn forget(&self, account: AccountId) {
        self.opened.invalidate(&account);
    }

    async fn make(&self, account: AccountId) -> Result<WrappedDataKey, DataKeyError> {
        let kek = self.keys.active().await?;
        let key = SealingKey::random(&*self.entropy);
        let wrapping = SealingKey::derive(&kek, KeyPurpose::Wrap)?;
        let wrapped = wrapping.seal(&self.place(account, &kek.id), key.expose(), &*self.entropy);
        Ok(WrappedDataKey { account, kek_id: kek.id, wrapped })
    }

    async fn unwrap(&self, wrapped: WrappedDataKey) -> Result<Arc<SealingKey>, DataKeyError> {
        let WrappedDataKey { account, kek_id, wrapped } = wrapped;
        if let Some(opened) = self.opened.get(&account)
            && *opened.wrapped == wrapped
        {
            return Ok(opened.key);
        }
        let kek = self.keys.find(&kek_id).await?.ok_or(Unreadable)?;
        let bytes = SealingKey::derive(&kek, KeyPurpose::Wrap)?.open(&self.place(account, &kek_id), &wrapped)?;
        let key = Arc::new(SealingKey::from_bytes(&bytes)?);
        self.opened.insert(account, OpenedDataKey { wrapped: Arc::new(wrapped), key: Arc::clone(&key) });
        Ok(key)
    }

    fn place(&self, account: AccountId, kek_id: &str) -> Place {
        Place::new("data-key", &self.cluster_id).and(account.as_uuid().as_bytes()).and(kek_id.as_bytes())
    }
}
