//! Logins under way.

use std::collections::hash_map::Entry;

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{AuthorizationRequestStore, StoreError};
use crate::{AuthorizationRequestRecord, StateHash, Timestamp};

#[async_trait]
impl AuthorizationRequestStore for MemoryStores {
    async fn insert(&self, record: &AuthorizationRequestRecord, cap: u64) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let alive = |known: &&AuthorizationRequestRecord| record.created_at < known.expires_at;
        let waiting = tables.authorization_requests.values().filter(alive).count();
        if u64::try_from(waiting).is_ok_and(|waiting| waiting >= cap) {
            return Err(StoreError::Full);
        }
        match tables.authorization_requests.entry(record.state) {
            Entry::Occupied(_) => Err(StoreError::Refused("a login with that state is under way")),
            Entry::Vacant(place) => {
                place.insert(record.clone());
                Ok(())
            }
        }
    }

    async fn take(&self, state: &StateHash, now: Timestamp) -> Result<Option<AuthorizationRequestRecord>, StoreError> {
        let taken = self.tables().authorization_requests.remove(state);
        Ok(taken.filter(|record| now < record.expires_at))
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.authorization_requests.len();
        tables.authorization_requests.retain(|_, record| now < record.expires_at);
        let removed = before - tables.authorization_requests.len();
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }
}
