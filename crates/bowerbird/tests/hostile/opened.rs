//! Opens what a server has stored, with the keys of its configuration, so that a sweep knows what to look for.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::ports::{
    GrantFacts, KeyEncryptionKey, KeyProvider, KeyProviderError, PreparedRefresh, RefreshRefusal, Refresher,
};
use bowerbird_core::{SecretBytes, Timestamp};
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_oauth::jose::SigningKey;
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{Vault, VaultConfig};

/// One key-encryption key, by whatever name it is asked for.
struct OneKey(Vec<u8>);

#[async_trait]
impl KeyProvider for OneKey {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        Err(KeyProviderError::Misconfigured("nothing is sealed here"))
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        Ok(Some(KeyEncryptionKey { id: id.to_owned(), key: SecretBytes::new(self.0.clone()) }))
    }
}

/// Speaks to no issuer.
struct NoIssuer;

#[async_trait]
impl Refresher for NoIssuer {
    async fn prepare(&self, _: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        Err(RefreshRefusal::NotNow("nothing is refreshed here".into()))
    }
}

async fn open(data_dir: &Path) -> SqlStores {
    SqlStores::open(&format!("sqlite:{}", data_dir.join("bowerbird.sqlite").display())).await.unwrap()
}

/// How many logins are stored as under way, which ends them.
pub(crate) async fn logins_under_way(data_dir: &Path) -> u64 {
    let database = open(data_dir).await;
    let purged = database.stores().authorization_requests.purge(Timestamp::from_millis(i64::MAX)).await.unwrap();
    database.close().await;
    purged
}

/// The private scalars of the DPoP keys of every grant that is stored at this moment, 32 bytes each. The server may run.
pub(crate) async fn dpop_scalars(data_dir: &Path, key_encryption_key: &[u8]) -> Vec<Vec<u8>> {
    let database = open(data_dir).await;
    let stores = database.stores();
    let config = VaultConfig::new(database.cluster_id(&OsEntropy).await.unwrap());
    let keys = Arc::new(OneKey(key_encryption_key.to_vec()));
    let clock = Arc::new(SystemClock::new());
    let vault = Vault::new(config, &stores, keys, Arc::new(NoIssuer), clock, Arc::new(OsEntropy));
    let mut scalars = Vec::new();
    for account in stores.accounts.list(None, 100).await.unwrap() {
        for connection in stores.connections.list(account.id).await.unwrap() {
            let grant = vault.open(connection.id).await.unwrap();
            scalars.extend(grant.and_then(|grant| scalar(grant.dpop_key)));
        }
    }
    database.close().await;
    scalars
}

/// Not every kind of grant has a key.
fn scalar(key: impl Into<Option<SigningKey>>) -> Option<Vec<u8>> {
    key.into().map(|key| key.scalar().expose().to_vec())
}
