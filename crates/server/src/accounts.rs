//! Accounts as handlers see them: by name, from a bounded cache, then from the shared tier, then from the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowerbird_core::ports::{AccountStore, Change, ChangeFeed, ChangeListener, Clock, StoreError};
use bowerbird_core::{Account, AccountId, DeviceSession, Did, Handle, Profile};
use http::StatusCode;

use crate::device_sessions::LiveDevice;
use crate::error::ApiError;
use crate::shared_tier::SharedTier;
use crate::snapshots::Snapshots;

const CACHED: u64 = 50_000;
/// How old an account may be, here and in the shared tier together: another instance may have seen a login with a new
/// handle or server, and a copy of before may be put into the tier after that. News make that a moment; this holds also
/// when none arrive. Whether somebody is signed in is never decided by an account.
const FRESH: Duration = Duration::from_secs(30);
/// By how much the clocks of two instances may differ; copies from further ahead are not used.
const CLOCKS: Duration = Duration::from_secs(5);

/// The accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Shared>);

struct Shared {
    store: Arc<dyn AccountStore>,
    clock: Arc<dyn Clock>,
    changes_feed: Arc<dyn ChangeFeed>,
    snapshots: Snapshots,
    cache: moka::sync::Cache<AccountId, Kept>,
    changes: AtomicU64,
}

#[derive(Clone)]
struct Kept {
    account: Arc<Account>,
    /// By the monotonic clock.
    until: Duration,
}

impl Accounts {
    pub(crate) fn new(store: Arc<dyn AccountStore>, clock: Arc<dyn Clock>, tier: &SharedTier) -> Self {
        let cache = moka::sync::Cache::builder().max_capacity(CACHED).time_to_live(FRESH).build();
        let snapshots = Snapshots::new(tier.snapshots.clone());
        let changes_feed = Arc::clone(&tier.changes);
        let shared = Arc::new(Shared { store, clock, changes_feed, snapshots, cache, changes: AtomicU64::new(0) });
        shared.changes_feed.listen(Arc::new(News(Arc::downgrade(&shared))));
        Self(shared)
    }

    /// Finds by name.
    pub(crate) async fn find(&self, id: AccountId) -> Result<Option<Arc<Account>>, StoreError> {
        let begun = self.0.clock.monotonic();
        if let Some(kept) = self.0.cache.get(&id).filter(|kept| begun < kept.until) {
            return Ok(Some(kept.account));
        }
        let changes = self.0.changes.load(Ordering::SeqCst);
        if let Some((account, age)) = self.shared(id).await {
            return Ok(Some(self.remember(account, begun + FRESH.saturating_sub(age), changes)));
        }
        let read_at = self.0.clock.now();
        let Some(account) = self.0.store.find(id).await? else { return Ok(None) };
        self.0.snapshots.keep_account(&account, read_at, FRESH).await;
        Ok(Some(self.remember(account, begun + FRESH, changes)))
    }

    /// The copy of another instance and its age, while it is fresh.
    async fn shared(&self, id: AccountId) -> Option<(Account, Duration)> {
        let (account, read_at) = self.0.snapshots.account(id).await?;
        let age = self.0.clock.now().millis_since(read_at);
        let ahead = i64::try_from(CLOCKS.as_millis()).unwrap_or(0);
        let age = if age >= -ahead { Duration::from_millis(age.max(0).unsigned_abs()) } else { return None };
        (age < FRESH).then_some((account, age))
    }

    fn remember(&self, account: Account, until: Duration, changes: u64) -> Arc<Account> {
        let (id, account) = (account.id, Arc::new(account));
        self.0.cache.insert(id, Kept { account: Arc::clone(&account), until });
        // As for device sessions: what was read before a change must not stay behind it.
        if self.0.changes.load(Ordering::SeqCst) != changes {
            self.0.cache.invalidate(&id);
        }
        account
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

    /// The account of a device that is named by its id, its DID or its handle. A handle can change hands, and two accounts
    /// may have had it one after the other: it is for looking up, and what it found is to be named by its id from there on.
    pub(crate) async fn look_up(&self, device: &LiveDevice, name: &str) -> Result<Arc<Account>, ApiError> {
        let Ok(handle) = Handle::parse(name.strip_prefix('@').unwrap_or(name)) else {
            return self.on_device(device, name).await;
        };
        let mut found = self.all_on_device(device).await?;
        found.retain(|account| account.handle.eq_ignore_ascii_case(handle.as_str()));
        match (found.pop(), found.is_empty()) {
            (Some(account), true) => Ok(account),
            (Some(_), false) => {
                let message = "More than one account of this device had that handle when it signed in";
                let error = ApiError::new(StatusCode::CONFLICT, "handle_not_unique", message);
                Err(error.with_hint("Name the account by its id or DID"))
            }
            (None, _) => Err(ApiError::account_not_found()),
        }
    }

    /// Whether the device has a place for what was typed: always for an account that it holds.
    pub(crate) async fn check_place(&self, device: &LiveDevice, typed: &str) -> Result<(), ApiError> {
        if device.session.accounts.len() < DeviceSession::MAX_ACCOUNTS {
            return Ok(());
        }
        match self.look_up(device, typed.trim()).await {
            Ok(_) => Ok(()),
            Err(error) if error.status == StatusCode::NOT_FOUND => Err(ApiError::too_many_accounts()),
            Err(error) => Err(error),
        }
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
        self.changed(id).await;
        done
    }

    /// Forgets a cached account after a login changed it, here and elsewhere.
    pub(crate) async fn changed(&self, id: AccountId) {
        self.0.forget(id);
        self.0.snapshots.drop_account(id).await;
        self.0.changes_feed.publish(Change::Account(id)).await;
    }
}

impl Shared {
    fn forget(&self, id: AccountId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate(&id);
    }
}

/// Hears what other instances changed. Does not keep the accounts alive.
struct News(Weak<Shared>);

impl ChangeListener for News {
    fn changed(&self, change: &Change) {
        if let (Some(shared), Change::Account(id)) = (self.0.upgrade(), change) {
            shared.forget(*id);
        }
    }

    fn missed(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.changes.fetch_add(1, Ordering::SeqCst);
            shared.cache.invalidate_all();
        }
    }
}
