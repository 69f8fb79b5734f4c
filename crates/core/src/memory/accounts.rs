//! Accounts.

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{AccountStore, NewAccount, StoreError};
use crate::{Account, AccountId, Did, Profile};

#[async_trait]
impl AccountStore for MemoryStores {
    async fn sign_in(&self, account: NewAccount) -> Result<Account, StoreError> {
        let mut tables = self.tables();
        if let Some(known) = tables.accounts.values_mut().find(|known| known.did == account.did) {
            known.handle = account.handle;
            known.pds = account.pds;
            known.last_login_at = account.now;
            return Ok(known.clone());
        }
        if tables.accounts.contains_key(&account.id) {
            return Err(StoreError::Refused("another account has that id"));
        }
        let added = Account {
            id: account.id,
            did: account.did,
            handle: account.handle,
            pds: account.pds,
            profile: Profile::default(),
            created_at: account.now,
            last_login_at: account.now,
        };
        tables.accounts.insert(added.id, added.clone());
        Ok(added)
    }

    async fn find(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.tables().accounts.get(&id).cloned())
    }

    async fn find_by_did(&self, did: &Did) -> Result<Option<Account>, StoreError> {
        Ok(self.tables().accounts.values().find(|account| account.did == *did).cloned())
    }

    async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        let place = |account: &Account| (account.created_at, account.id);
        let from = match after {
            None => None,
            Some(id) => {
                let gone = StoreError::Refused("the account to go on after is gone; begin the list again");
                Some(place(tables.accounts.get(&id).ok_or(gone)?))
            }
        };
        let mut found: Vec<&Account> =
            tables.accounts.values().filter(|account| from.is_none_or(|from| place(account) > from)).collect();
        found.sort_by_key(|account| place(account));
        Ok(found.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn set_profile(&self, id: AccountId, profile: &Profile) -> Result<(), StoreError> {
        if let Some(account) = self.tables().accounts.get_mut(&id) {
            account.profile = profile.clone();
        }
        Ok(())
    }

    async fn remove(&self, id: AccountId) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let was_there = tables.accounts.remove(&id).is_some();
        tables.connections.retain(|_, connection| connection.account != id);
        let gone = tables.credentials.extract_if(|_, credential| credential.account == id);
        let gone: Vec<_> = gone.map(|(connection, _)| connection).collect();
        for connection in gone {
            tables.forget_incident(connection);
        }
        tables.deliveries.retain(|_, row| row.delivery.account != Some(id));
        tables.data_keys.remove(&id);
        tables.handoffs.retain(|_, row| row.handoff.account != id);
        tables.security_events.retain(|event| event.account != id);
        for row in tables.device_sessions.values_mut() {
            row.forget(id);
        }
        Ok(was_there)
    }
}
