//! The addresses that a session was put into.

use async_trait::async_trait;

use super::MemoryStores;
use crate::Timestamp;
use crate::ports::{OlderContractStore, OlderContractUse, StoreError};

#[async_trait]
impl OlderContractStore for MemoryStores {
    async fn note(&self, address: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let row = tables.older_contract.entry(address.to_owned()).or_insert_with(|| OlderContractUse {
            address: address.to_owned(),
            first_at: now,
            last_at: now,
            times: 0,
        });
        row.last_at = row.last_at.max(now);
        row.times += 1;
        Ok(())
    }

    async fn list(&self) -> Result<Vec<OlderContractUse>, StoreError> {
        let mut uses: Vec<_> = self.tables().older_contract.values().cloned().collect();
        uses.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.address.cmp(&b.address)));
        Ok(uses)
    }
}
