//! Wrapped data keys, one per account.

use std::collections::BTreeMap;

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

    async fn page_by_kek(
        &self,
        not_kek_id: &str,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<WrappedDataKey>, StoreError> {
        let tables = self.tables();
        let wanted = |key: &&WrappedDataKey| key.kek_id != not_kek_id && after.is_none_or(|after| key.account > after);
        let mut page: Vec<_> = tables.data_keys.values().filter(wanted).cloned().collect();
        page.sort_unstable_by_key(|key| key.account);
        page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(page)
    }

    async fn count_by_kek(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts = BTreeMap::new();
        for key in self.tables().data_keys.values() {
            *counts.entry(key.kek_id.clone()).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }
}
