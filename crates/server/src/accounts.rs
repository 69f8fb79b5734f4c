//! Accounts as handlers see them: by name, from a bounded cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{AccountStore, StoreError};
use bowerbird_core::{Account, AccountId, Did, Profile};

use crate::device_sessions::LiveDevice;
use crate::error::ApiError;

const CACHED: u64 = 50_000;
/// How old a cached account may be: another instance may have seen a login with a new handle or server.
const FRESH: Duration = Duration::from_secs(30);

/// The accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Shared>);

struct Shared {
    store: Arc<dyn AccountStore>,
    cache: moka::sync::Cache<AccountId, Arc<Account>>,
    changes: AtomicU64,
}

impl Accounts {
    pub(crate) fn new(store: Arc<dyn AccountStore>) -> Self {
        let cache = moka::sync::Cache::builder().max_capacity(CACHED).time_to_live(FRESH).build();
        Self(Arc::new(Shared { store, cache, changes: AtomicU64::new(0) }))
    }

    /// Finds by name.
    pub(crate) async fn find(&self, id: AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        if let Some(account) = self.0.cache.get(&id) {
            return Ok(Some(account));
        }
        let changes = self.0.changes.load(Ordering::SeqCst);
        let Some(account) = self.0.store.find(id).await?.map(Arc::new) else { return Ok(None) };
        self.0.cache.insert(id, Arc::clone(&account));
        // As for device sessions: what was read before a change must not stay behind it.
        if self.0.changes.load(Ordering::SeqCst) != changes {
            self.0.cache.invalidate(&id);
        }
        Ok(Some(account))
    }

    /// The active account of a device.
    pub(crate) async fn active(&self, device: &LiveDevice) -> Result<Option<Arc<Account>>, StoreError> {
        match device.session.active {
            Some(id) => self.find(id).await,
            None => Ok(None),
        }
    }

    /// The account of a device that is named by its id or its DID; for every other one, whether it exists or not, the
    /// same 404.
    pub(crate) async fn on_device(&self, device: &LiveDevice, name: &str) -> Result<Arc<Account>, ApiError> {
        if let Ok(id) = AccountId::parse(name) {
            let held = if device.session.holds(id) { self.find(id).await? } else { None };
            return held.ok_or_else(ApiError::account_not_found);
        }
        let did = Did::parse(name).map_err(|_| ApiError::account_not_found())?;
        for entry in &device.session.accounts {
            if let Some(account) = self.find(entry.account).await?.filter(|account| account.did == did) {
                return Ok(account);
            }
        }
        Err(ApiError::account_not_found())
    }

    /// Every account of a device, in the order in which they were added.
    pub(crate) async fn all_on_device(&self, device: &LiveDevice) -> Result<Vec<Arc<Account>>, StoreError> {
        let mut accounts = Vec::with_capacity(device.session.accounts.len());
        for entry in &device.session.accounts {
            accounts.extend(self.find(entry.account).await?);
        }
        Ok(accounts)
    }

    /// Stores a profile.
    pub(crate) async fn set_profile(&self, id: AccountId, profile: &Profile) -> Result<(), StoreError> {
        let done = self.0.store.set_profile(id, profile).await;
        self.changed(id);
        done
    }

    /// Forgets a cached account after a login changed it.
    pub(crate) fn changed(&self, id: AccountId) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.cache.invalidate(&id);
    }
}
