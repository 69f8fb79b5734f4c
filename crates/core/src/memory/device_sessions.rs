//! Device sessions.

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{Cas, DeviceSessionStore, StoreError};
use crate::{AccountId, DeviceAccount, DeviceSession, DeviceSessionId, RenewalLine, Timestamp};

/// A session, and the order in which its accounts were used.
#[derive(Clone, Debug)]
pub(super) struct DeviceRow {
    pub(super) device: DeviceSession,
    /// Its accounts, the active one last: so the one before it is the next when it goes.
    by_use: Vec<AccountId>,
    /// The line of its refresh strings, and the place of the newest.
    pub(super) renewal: Option<(RenewalLine, i64)>,
}

impl DeviceRow {
    fn new(device: &DeviceSession) -> Self {
        let others =
            device.accounts.iter().map(|entry| entry.account).filter(|account| Some(*account) != device.active);
        let mut row = Self { by_use: others.chain(device.active).collect(), device: device.clone(), renewal: None };
        row.device.accounts.sort_by_key(|entry| (entry.added_at, entry.account));
        row
    }

    fn make_active(&mut self, account: AccountId) {
        self.by_use.retain(|known| *known != account);
        self.by_use.push(account);
        self.device.active = Some(account);
    }

    /// Takes an account off; the active place goes to the one used last.
    pub(super) fn forget(&mut self, account: AccountId) {
        self.by_use.retain(|known| *known != account);
        self.device.accounts.retain(|entry| entry.account != account);
        self.device.active = self.by_use.last().copied();
    }
}

#[async_trait]
impl DeviceSessionStore for MemoryStores {
    async fn insert(&self, device: &DeviceSession) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let consistent = device.active.map_or(device.accounts.is_empty(), |active| device.holds(active));
        if !consistent {
            return Err(StoreError::Refused("the active account is not on the device"));
        }
        if device.accounts.iter().any(|entry| !tables.accounts.contains_key(&entry.account)) {
            return Err(StoreError::Refused("the account is gone"));
        }
        if tables.device_sessions.contains_key(&device.id) {
            return Err(StoreError::Refused("another device session has that id"));
        }
        tables.device_sessions.insert(device.id.clone(), DeviceRow::new(device));
        Ok(())
    }

    async fn find(&self, id: &DeviceSessionId, now: Timestamp) -> Result<Option<DeviceSession>, StoreError> {
        let tables = self.tables();
        Ok(tables.device_sessions.get(id).map(|row| &row.device).filter(|device| device.is_alive(now)).cloned())
    }

    async fn rotate(
        &self,
        old: &DeviceSessionId,
        new: &DeviceSessionId,
        account: AccountId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<DeviceSession>, StoreError> {
        let mut tables = self.tables();
        if !tables.device_sessions.get(old).is_some_and(|row| row.device.is_alive(now)) {
            return Ok(None);
        }
        if !tables.accounts.contains_key(&account) {
            return Err(StoreError::Refused("the account is gone"));
        }
        if tables.device_sessions.contains_key(new) {
            return Err(StoreError::Refused("another device session has that id"));
        }
        let Some(mut row) = tables.device_sessions.remove(old) else { return Ok(None) };
        row.device.id = new.clone();
        row.device.last_seen_at = now;
        row.device.expires_at = expires_at;
        if !row.device.holds(account) {
            row.device.accounts.push(DeviceAccount { account, added_at: now });
            row.device.accounts.sort_by_key(|entry| (entry.added_at, entry.account));
        }
        row.make_active(account);
        let device = row.device.clone();
        tables.device_sessions.insert(new.clone(), row);
        Ok(Some(device))
    }

    async fn activate(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        match self.tables().device_sessions.get_mut(id) {
            Some(row) if row.device.holds(account) => {
                row.make_active(account);
                Ok(Cas::Done)
            }
            _ => Ok(Cas::Stale),
        }
    }

    async fn remove_account(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.device_sessions.get_mut(id).filter(|row| row.device.holds(account)) else {
            return Ok(Cas::Stale);
        };
        row.forget(account);
        if row.device.accounts.is_empty() {
            tables.device_sessions.remove(id);
        }
        Ok(Cas::Done)
    }

    async fn touch(&self, id: &DeviceSessionId, now: Timestamp, expires_at: Timestamp) -> Result<Cas, StoreError> {
        match self.tables().device_sessions.get_mut(id) {
            Some(row) if row.device.is_alive(now) => {
                if row.device.last_seen_at <= now {
                    row.device.last_seen_at = now;
                    row.device.expires_at = expires_at;
                }
                Ok(Cas::Done)
            }
            _ => Ok(Cas::Stale),
        }
    }

    async fn remove(&self, id: &DeviceSessionId) -> Result<Cas, StoreError> {
        let removed = self.tables().device_sessions.remove(id);
        Ok(if removed.is_some() { Cas::Done } else { Cas::Stale })
    }

    async fn list_for_account(&self, account: AccountId, now: Timestamp) -> Result<Vec<DeviceSession>, StoreError> {
        let tables = self.tables();
        let live = tables.device_sessions.values().map(|row| &row.device);
        let mut found: Vec<DeviceSession> =
            live.filter(|device| device.holds(account) && device.is_alive(now)).cloned().collect();
        found.sort_by(|a, b| b.last_seen_at.cmp(&a.last_seen_at).then_with(|| a.id.cmp(&b.id)));
        Ok(found)
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let before = tables.device_sessions.len();
        tables.device_sessions.retain(|_, row| row.device.is_alive(now));
        let removed = before - tables.device_sessions.len();
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }
}
