//! The history of accounts.

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{EventPlace, SecurityEventStore, StoreError};
use crate::{AccountId, SecurityEvent, Timestamp};

#[async_trait]
impl SecurityEventStore for MemoryStores {
    async fn note(&self, events: &[SecurityEvent]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if events.iter().any(|event| tables.security_events.iter().any(|known| known.id == event.id)) {
            return Err(StoreError::Refused("another event has that id"));
        }
        for event in
            events.iter().filter(|event| tables.accounts.contains_key(&event.account)).cloned().collect::<Vec<_>>()
        {
            let account = event.account;
            tables.security_events.push(event);
            let latest = latest_first(&tables.security_events, account);
            let kept = usize::try_from(SecurityEvent::KEPT).unwrap_or(usize::MAX);
            if let Some(from) = latest.get(kept).map(|event| place(event)) {
                tables.security_events.retain(|event| event.account != account || place(event) > from);
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        account: AccountId,
        before: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<SecurityEvent>, StoreError> {
        let tables = self.tables();
        let found = latest_first(&tables.security_events, account);
        let found = found.into_iter().filter(|event| before.is_none_or(|before| place(event) < before));
        Ok(found.take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn purge(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let count = tables.security_events.len();
        tables.security_events.retain(|event| event.at >= before);
        Ok(u64::try_from(count - tables.security_events.len()).unwrap_or(u64::MAX))
    }
}

fn place(event: &SecurityEvent) -> EventPlace {
    (event.at, event.id)
}

fn latest_first(events: &[SecurityEvent], account: AccountId) -> Vec<&SecurityEvent> {
    let mut found: Vec<_> = events.iter().filter(|event| event.account == account).collect();
    found.sort_by_key(|event| std::cmp::Reverse(place(event)));
    found
}
