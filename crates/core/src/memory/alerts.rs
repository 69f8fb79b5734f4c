//! Incidents, webhooks that wait, and the census.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{MemoryStores, Tables};
use crate::ports::{
    AlertStore, Cas, CensusEntry, ClaimedDelivery, CountedState, Incident, IncidentSubject, NewDelivery, StoreError,
    TokenAge, UntoldAccess,
};
use crate::{ConnectionId, CredentialState, Timestamp};

/// A webhook that waits.
#[derive(Clone, Debug)]
pub(super) struct DeliveryRow {
    pub(super) delivery: NewDelivery,
    due_at: Timestamp,
    attempts: u32,
}

#[async_trait]
impl AlertStore for MemoryStores {
    async fn open(&self, incident: &Incident, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        if let IncidentSubject::Access(connection) = incident.subject
            && tables.credentials.get(&connection).is_none_or(|row| row.state == CredentialState::Ok)
        {
            return Ok(Cas::Stale);
        }
        let same = |known: &Incident| known.kind == incident.kind && known.reason == incident.reason;
        if tables.incidents.get(&incident.subject).is_some_and(same) {
            return Ok(Cas::Stale);
        }
        add(&mut tables, deliveries)?;
        tables.incidents.insert(incident.subject.clone(), incident.clone());
        Ok(Cas::Done)
    }

    async fn close(&self, subject: &IncidentSubject, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        if !tables.incidents.contains_key(subject) {
            return Ok(Cas::Stale);
        }
        add(&mut tables, deliveries)?;
        tables.incidents.remove(subject);
        Ok(Cas::Done)
    }

    async fn untold(&self, limit: u32) -> Result<Vec<UntoldAccess>, StoreError> {
        let tables = self.tables();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let untold = |works: bool| {
            let entries = tables.credentials.values().filter_map(|row| {
                let incident = tables.incidents.get(&IncidentSubject::Access(row.connection));
                let reason = match row.state {
                    CredentialState::Ok if works && incident.is_some() => None,
                    CredentialState::NeedsReauth(reason)
                        if !works && incident.is_none_or(|incident| incident.kind == "outcome_unknown") =>
                    {
                        Some(reason)
                    }
                    _ => return None,
                };
                Some(UntoldAccess { account: row.account, connection: row.connection, reason })
            });
            entries.take(limit).collect::<Vec<_>>()
        };
        Ok([untold(false), untold(true)].concat())
    }

    async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<(), StoreError> {
        add(&mut self.tables(), deliveries)
    }

    async fn next_due(&self, endpoint: &str) -> Result<Option<Timestamp>, StoreError> {
        let tables = self.tables();
        Ok(tables.deliveries.values().filter(|row| row.delivery.endpoint == endpoint).map(|row| row.due_at).min())
    }

    async fn claim(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let mut tables = self.tables();
        let due = |row: &&mut DeliveryRow| row.delivery.endpoint == endpoint && row.due_at <= now;
        let mut due: Vec<&mut DeliveryRow> = tables.deliveries.values_mut().filter(due).collect();
        due.sort_unstable_by(|a, b| (a.due_at, &a.delivery.id).cmp(&(b.due_at, &b.delivery.id)));
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let claimed = due.into_iter().map(|row| {
            row.due_at = until;
            row.attempts += 1;
            let NewDelivery { id, message, body, .. } = row.delivery.clone();
            ClaimedDelivery { id, message, body, attempts: row.attempts, until }
        });
        Ok(claimed.collect())
    }

    async fn settle(&self, claimed: &ClaimedDelivery) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        if held(&mut tables, claimed).is_none() {
            return Ok(Cas::Stale);
        }
        tables.deliveries.remove(&claimed.id);
        Ok(Cas::Done)
    }

    async fn postpone(&self, claimed: &ClaimedDelivery, due_at: Timestamp) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        let Some(row) = held(&mut tables, claimed) else { return Ok(Cas::Stale) };
        row.due_at = due_at;
        Ok(Cas::Done)
    }

    async fn waiting(&self, at_most: u32) -> Result<u64, StoreError> {
        let number = u64::try_from(self.tables().deliveries.len()).unwrap_or(u64::MAX);
        Ok(number.min(u64::from(at_most)))
    }

    async fn purge(&self, created_before: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.deliveries.len();
        tables.deliveries.retain(|_, row| row.delivery.created_at >= created_before);
        Ok(u64::try_from(before - tables.deliveries.len()).unwrap_or(u64::MAX))
    }

    async fn census(&self, now: Timestamp) -> Result<Vec<CensusEntry>, StoreError> {
        let tables = self.tables();
        let mut counts: HashMap<(CountedState, TokenAge), (u64, Timestamp)> = HashMap::new();
        for row in tables.credentials.values() {
            let state = match row.state {
                CredentialState::Ok => CountedState::Ok,
                CredentialState::Refreshing { .. } => CountedState::Refreshing,
                CredentialState::Unknown { .. } => CountedState::Unknown,
                CredentialState::NeedsReauth(reason) => CountedState::NeedsReauth(reason),
            };
            let issued_at = row.tokens.issued_at;
            let age = TokenAge::of_seconds(now.millis_since(issued_at).div_euclid(1000));
            let (number, oldest) = counts.entry((state, age)).or_insert((0, issued_at));
            *number += 1;
            *oldest = (*oldest).min(issued_at);
        }
        let entry = |((state, age), (number, oldest))| CensusEntry { state, age, number, oldest };
        Ok(counts.into_iter().map(entry).collect())
    }
}

impl Tables {
    /// A credential is gone: there is nothing left to be wrong.
    pub(super) fn forget_incident(&mut self, connection: ConnectionId) {
        self.incidents.remove(&IncidentSubject::Access(connection));
    }
}

/// All of them or none.
fn add(tables: &mut Tables, deliveries: &[NewDelivery]) -> Result<(), StoreError> {
    for delivery in deliveries {
        if delivery.account.is_some_and(|account| !tables.accounts.contains_key(&account)) {
            return Err(StoreError::Refused("the account is gone"));
        }
        if tables.deliveries.contains_key(&delivery.id) {
            return Err(StoreError::Refused("another delivery has that id"));
        }
    }
    for delivery in deliveries {
        let row = DeliveryRow { delivery: delivery.clone(), due_at: delivery.created_at, attempts: 0 };
        tables.deliveries.insert(delivery.id.clone(), row);
    }
    Ok(())
}

/// The row, if the claim still holds.
fn held<'t>(tables: &'t mut Tables, claimed: &ClaimedDelivery) -> Option<&'t mut DeliveryRow> {
    tables.deliveries.get_mut(&claimed.id).filter(|row| row.due_at == claimed.until)
}
