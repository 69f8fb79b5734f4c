//! Sealed credentials, one per connection.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{MemoryStores, Tables};
use crate::ports::{BegunRefresh, Cas, CredentialStore, DueCredential, DuePlace, LeaseRequest, StoreError};
use crate::refresh::QUIET_SECONDS;
use crate::{
    ConnectionId, CredentialRecord, CredentialState, Generation, NeedsReauth, Schedule, SealedTokens, Timestamp,
    WrappedDataKey,
};

#[async_trait]
impl CredentialStore for MemoryStores {
    async fn find(&self, connection: ConnectionId) -> Result<Option<CredentialRecord>, StoreError> {
        Ok(self.tables().credentials.get(&connection).cloned())
    }

    async fn find_with_key(
        &self,
        connection: ConnectionId,
    ) -> Result<Option<(CredentialRecord, Option<WrappedDataKey>)>, StoreError> {
        let tables = self.tables();
        let record = tables.credentials.get(&connection).cloned();
        Ok(record.map(|record| {
            let key = tables.data_keys.get(&record.account).cloned();
            (record, key)
        }))
    }

    async fn replace(&self, record: &CredentialRecord, seen: Option<Generation>) -> Result<Cas, StoreError> {
        if seen.is_some_and(|seen| record.generation <= seen) {
            return Err(StoreError::Refused("a new grant needs a higher generation"));
        }
        let mut tables = self.tables();
        let known = tables.credentials.get(&record.connection).map(|known| known.generation);
        if known != seen {
            return Ok(Cas::Stale);
        }
        let owned = tables.connections.get(&record.connection).is_some_and(|owner| owner.account == record.account);
        if !owned {
            return Err(StoreError::Refused("the connection is gone"));
        }
        tables.credentials.insert(record.connection, record.clone());
        Ok(Cas::Done)
    }

    async fn begin_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        lease: LeaseRequest<'_>,
    ) -> Result<Option<BegunRefresh>, StoreError> {
        let mut tables = self.tables();
        let Some(row) = at_generation(&mut tables, connection, seen) else { return Ok(None) };
        if !may_begin(&row.state, lease.now) {
            return Ok(None);
        }
        let (intent_at, lease_until) = (lease.now, lease.now.plus_seconds(lease.seconds));
        row.schedule.attempts = row.schedule.attempts.saturating_add(1);
        row.schedule.due_at = Some(lease_until);
        let before = row.clone();
        row.state = CredentialState::Refreshing { lease_until, intent_at };
        Ok(Some(BegunRefresh { before, intent_at, lease_until }))
    }

    async fn commit_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        tokens: &SealedTokens,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        let Some(row) = at_generation(&mut tables, connection, seen) else { return Ok(Cas::Stale) };
        row.generation = seen.next();
        row.tokens = tokens.clone();
        row.state = state.clone();
        row.schedule = schedule;
        Ok(Cas::Done)
    }

    async fn set_state(
        &self,
        connection: ConnectionId,
        seen: Generation,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        let Some(row) = at_generation(&mut tables, connection, seen) else { return Ok(Cas::Stale) };
        row.state = state.clone();
        row.schedule = schedule;
        Ok(Cas::Done)
    }

    async fn end_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        intent_at: Timestamp,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        let Some(row) = at_generation(&mut tables, connection, seen) else { return Ok(Cas::Stale) };
        if !matches!(row.state, CredentialState::Refreshing { intent_at: held, .. } if held == intent_at) {
            return Ok(Cas::Stale);
        }
        row.state = state.clone();
        row.schedule = schedule;
        Ok(Cas::Done)
    }

    async fn due(&self, now: Timestamp, after: Option<DuePlace>, limit: u32) -> Result<Vec<DueCredential>, StoreError> {
        let tables = self.tables();
        let due = tables.credentials.values().filter_map(|row| {
            let due_at = row.schedule.due_at.filter(|due_at| *due_at <= now)?;
            let (connection, generation, issuer) = (row.connection, row.generation, row.issuer.clone());
            after.is_none_or(|place| place < (due_at, connection)).then_some(DueCredential {
                connection,
                generation,
                issuer,
                due_at,
            })
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by_key(|entry| (entry.due_at, entry.connection));
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    async fn note_use(&self, uses: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (connection, used_at) in uses {
            if let Some(row) = tables.credentials.get_mut(connection) {
                row.used_at = row.used_at.max(*used_at);
            }
        }
        Ok(())
    }

    async fn count_by_reason(&self) -> Result<Vec<(Option<NeedsReauth>, u64)>, StoreError> {
        Ok(count(self.tables().credentials.values().map(|row| reason(&row.state))))
    }

    async fn count_by_client_key(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        let tables = self.tables();
        let live = tables.credentials.values().filter(|row| reason(&row.state).is_none());
        Ok(count(live.map(|row| row.client_kid.clone())))
    }

    async fn remove(&self, connection: ConnectionId, seen: Generation) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        if at_generation(&mut tables, connection, seen).is_none() {
            return Ok(Cas::Stale);
        }
        tables.credentials.remove(&connection);
        tables.forget_incident(connection);
        Ok(Cas::Done)
    }
}

/// The row, if it still has the generation that the caller saw.
fn at_generation(tables: &mut Tables, connection: ConnectionId, seen: Generation) -> Option<&mut CredentialRecord> {
    tables.credentials.get_mut(&connection).filter(|row| row.generation == seen)
}

/// Whether an intent may be written: the lease is over and the quiet time has passed (REFRESH steps 1 and 6).
fn may_begin(state: &CredentialState, now: Timestamp) -> bool {
    match state {
        CredentialState::Ok => true,
        CredentialState::Refreshing { lease_until, intent_at } => {
            *lease_until <= now && intent_at.plus_seconds(QUIET_SECONDS) <= now
        }
        CredentialState::Unknown { intent_at } => intent_at.plus_seconds(QUIET_SECONDS) <= now,
        CredentialState::NeedsReauth(_) => false,
    }
}

fn reason(state: &CredentialState) -> Option<NeedsReauth> {
    match state {
        CredentialState::NeedsReauth(reason) => Some(*reason),
        _ => None,
    }
}

fn count<K: Eq + std::hash::Hash>(keys: impl Iterator<Item = K>) -> Vec<(K, u64)> {
    let mut counts = HashMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
