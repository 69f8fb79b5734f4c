//! Where a program keeps logins under way and sessions: any store of the core's ports, in memory or in SQL.

use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::SecretBytes;
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{
    AccountStore, ConnectionStore, CredentialStore, DataKeyStore, Entropy, KeyEncryptionKey, KeyProvider,
    KeyProviderError, Stores,
};

/// Keeps logins under way, sealed, for ten minutes; each is taken once.
pub use bowerbird_core::ports::AuthorizationRequestStore as StateStore;

/// Keeps accounts, their connections and their sealed credentials.
#[derive(Clone)]
pub struct SessionStore {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Connections.
    pub connections: Arc<dyn ConnectionStore>,
    /// Sealed credentials.
    pub credentials: Arc<dyn CredentialStore>,
    /// Wrapped data keys.
    pub data_keys: Arc<dyn DataKeyStore>,
}

impl SessionStore {
    /// Sessions that end with the process.
    pub fn memory() -> Self {
        Self::of(&MemoryStores::new())
    }

    /// Sessions in the stores of an adapter, such as the SQL ones.
    pub fn of(stores: &Stores) -> Self {
        Self {
            accounts: Arc::clone(&stores.accounts),
            connections: Arc::clone(&stores.connections),
            credentials: Arc::clone(&stores.credentials),
            data_keys: Arc::clone(&stores.data_keys),
        }
    }
}

/// A key-encryption key that is made at start and gone at the end: right for stores in memory, and for nothing else.
#[derive(Clone, Debug)]
pub struct EphemeralKeys(KeyEncryptionKey);

impl EphemeralKeys {
    /// Draws the key.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        Self(KeyEncryptionKey { id: "ephemeral".to_owned(), key: SecretBytes::new(key) })
    }
}

#[async_trait]
impl KeyProvider for EphemeralKeys {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        Ok(self.0.clone())
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        Ok((id == self.0.id).then(|| self.0.clone()))
    }
}
