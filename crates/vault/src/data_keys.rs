//! Data keys: one random key per account, stored wrapped by a key-encryption key.
//!
//! Removing an account's data key makes everything sealed under it unreadable, backups included. Wrapping all keys
//! under a newer key-encryption key is [`KeyRotation`](crate::KeyRotation)'s.

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

/// Wraps data keys and opens them.
#[derive(Clone)]
pub(crate) struct KeyWrapping {
    pub(crate) cluster_id: String,
    pub(crate) keys: Arc<dyn KeyProvider>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl KeyWrapping {
    /// Wraps with the active key-encryption key.
    pub(crate) async fn wrap(&self, account: AccountId, key: &SealingKey) -> Result<WrappedDataKey, DataKeyError> {
        let kek = self.keys.active().await?;
        let wrapping = SealingKey::derive(&kek, KeyPurpose::Wrap)?;
        let wrapped = wrapping.seal(&self.place(account, &kek.id), key.expose(), &*self.entropy);
        Ok(WrappedDataKey { account, kek_id: kek.id, wrapped })
    }

    /// Opens with whatever key-encryption key wrapped it.
    pub(crate) async fn open(&self, key: &WrappedDataKey) -> Result<SealingKey, DataKeyError> {
        let kek = self.keys.find(&key.kek_id).await?.ok_or(Unreadable)?;
        let wrapping = SealingKey::derive(&kek, KeyPurpose::Wrap)?;
        let bytes = wrapping.open(&self.place(key.account, &key.kek_id), &key.wrapped)?;
        Ok(SealingKey::from_bytes(&bytes)?)
    }

    fn place(&self, account: AccountId, kek_id: &str) -> Place {
        Place::new("data-key", &self.cluster_id).and(account.as_uuid().as_bytes()).and(kek_id.as_bytes())
    }
}

/// Gives data keys, and remembers them.
pub(crate) struct DataKeys {
    store: Arc<dyn DataKeyStore>,
    wrapping: KeyWrapping,
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
        Self { store, wrapping: KeyWrapping { cluster_id, keys, entropy }, opened }
    }

    /// The key that an account's fields were sealed with.
    pub(crate) async fn for_opening(&self, account: AccountId) -> Result<Arc<SealingKey>, DataKeyError> {
        if let Some(opened) = self.opened.get(&account) {
            return Ok(opened.key);
        }
        let wrapped = self.store.find(account).await?.ok_or(Unreadable)?;
        self.unwrap(wrapped).await
    }

    /// Takes a key that was read beside something else. One that does not open is left for [`Self::for_opening`] to
    /// complain about.
    pub(crate) async fn offer(&self, wrapped: WrappedDataKey) {
        if !self.opened.contains_key(&wrapped.account)
            && let Err(error) = self.unwrap(wrapped).await
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "a data key did not open");
        }
    }

    /// The key to seal a new grant with, made if the account has none.
    ///
    /// Always asks the store: a key that is only remembered may be gone from it (the account was removed and came
    /// back), and what is sealed with such a key could be read by nobody after a restart.
    pub(crate) async fn for_sealing(&self, account: AccountId) -> Result<Arc<SealingKey>, DataKeyError> {
        if let Some(wrapped) = self.store.find(account).await? {
            return self.unwrap(wrapped).await;
        }
        let made = SealingKey::random(&*self.wrapping.entropy);
        let wrapped = self.store.ensure(&self.wrapping.wrap(account, &made).await?).await?;
        self.unwrap(wrapped).await
    }

    /// Forgets the account's key, so that the store is asked again.
    pub(crate) fn forget(&self, account: AccountId) {
        self.opened.invalidate(&account);
    }

    async fn unwrap(&self, wrapped: WrappedDataKey) -> Result<Arc<SealingKey>, DataKeyError> {
        let account = wrapped.account;
        if let Some(opened) = self.opened.get(&account)
            && *opened.wrapped == wrapped.wrapped
        {
            return Ok(opened.key);
        }
        let key = Arc::new(self.wrapping.open(&wrapped).await?);
        self.opened.insert(account, OpenedDataKey { wrapped: Arc::new(wrapped.wrapped), key: Arc::clone(&key) });
        Ok(key)
    }
}
