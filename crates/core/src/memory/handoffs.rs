//! One-time codes for apps, and their lines of refresh strings.

use std::collections::hash_map::Entry;

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{HandoffStore, RenewalStore, StoreError};
use crate::{DeviceSessionId, HANDOFF_TRIES, Handoff, HandoffCodeHash, Redemption, Renewal, RenewalLine, Timestamp};

/// A code, and how often it was tried in vain.
#[derive(Clone, Debug)]
pub(super) struct HandoffRow {
    pub(super) handoff: Handoff,
    wrong: u32,
}

#[async_trait]
impl HandoffStore for MemoryStores {
    async fn insert(&self, handoff: &Handoff) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if !tables.accounts.contains_key(&handoff.account) {
            return Err(StoreError::Refused("the account is gone"));
        }
        match tables.handoffs.entry(handoff.code) {
            Entry::Occupied(_) => Err(StoreError::Refused("that code is taken")),
            Entry::Vacant(place) => {
                place.insert(HandoffRow { handoff: handoff.clone(), wrong: 0 });
                Ok(())
            }
        }
    }

    async fn redeem(
        &self,
        code: &HandoffCodeHash,
        proof: Option<&str>,
        now: Timestamp,
    ) -> Result<Redemption, StoreError> {
        let mut tables = self.tables();
        let Entry::Occupied(mut place) = tables.handoffs.entry(*code) else { return Ok(Redemption::Unknown) };
        let row = place.get_mut();
        if now >= row.handoff.expires_at {
            return Ok(Redemption::Unknown);
        }
        if row.handoff.challenge.as_deref() == proof {
            return Ok(Redemption::Redeemed(place.remove().handoff));
        }
        row.wrong += 1;
        let left = HANDOFF_TRIES.saturating_sub(row.wrong);
        if left == 0 {
            place.remove();
        }
        Ok(Redemption::WrongVerifier { left })
    }

    async fn withdraw(&self, code: &HandoffCodeHash) -> Result<Option<Handoff>, StoreError> {
        Ok(self.tables().handoffs.remove(code).map(|row| row.handoff))
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.handoffs.len();
        tables.handoffs.retain(|_, row| now < row.handoff.expires_at);
        let removed = before - tables.handoffs.len();
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl RenewalStore for MemoryStores {
    async fn begin(&self, device: &DeviceSessionId, line: &RenewalLine) -> Result<(), StoreError> {
        match self.tables().device_sessions.get_mut(device) {
            Some(row) => {
                row.renewal = Some((*line, 1));
                Ok(())
            }
            None => Err(StoreError::Refused("the session is gone")),
        }
    }

    async fn renew(&self, line: &RenewalLine, place: i64, now: Timestamp) -> Result<Renewal, StoreError> {
        let mut tables = self.tables();
        let mut rows = tables.device_sessions.values_mut();
        let found = rows.find(|row| row.renewal.is_some_and(|(known, _)| known == *line));
        let Some(row) = found.filter(|row| row.device.is_alive(now)) else { return Ok(Renewal::Unknown) };
        let device = row.device.id.clone();
        let Some((_, newest)) = &mut row.renewal else { return Ok(Renewal::Unknown) };
        if place >= *newest {
            *newest = place.saturating_add(1);
        } else if place.saturating_add(1) != *newest {
            return Ok(Renewal::Superseded { device });
        }
        Ok(Renewal::Renewed { device, place: *newest })
    }
}
