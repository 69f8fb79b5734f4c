//! Wrapped data keys, one per account.

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{Cas, DataKeyStore, StoreError};
use crate::{AccountId, WrappedDataKey};

#[async_trait]
impl DataKeyStore for MemoryStores {
    async fn find(&self, account: AccountId) -> Result<Option<WrappedDataKey>, StoreError> {
        Ok(self.tables().data_keys.get(&account).cloned())
    }

    async fn ensure(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, StoreError> {
        let mut tables = self.tables();
        if !tables.accounts.contains_key(&key.account) {
            return Err(StoreError::Refused("the account is gone"));
        }
        Ok(tables.data_keys.entry(key.account).or_insert_with(|| key.clone()).clone())
    }

    async fn rewrap(&self, key: &WrappedDataKey, seen_kek_id: &str) -> Result<Cas, StoreError> {
        match self.tables().data_keys.get_mut(&key.account) {
            Some(known) if known.kek_id == seen_kek_id => {
                *known = key.clone();
                Ok(Cas::Done)
            }
            _ => Ok(Cas::Stale),
        }
    }
}
