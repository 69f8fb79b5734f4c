//! The vault itself: what it is made of, how it is doing, and how it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{
    ChangeFeed, Clock, CredentialStore, Entropy, KeyProvider, NoChangeFeed, NoObserver, NoSpill, Observer, Refresher,
    SpillStore, Stores,
};
use bowerbird_core::{AuthorizationRequest, ConnectionId, StateHash};

use crate::credential_cache::CredentialCache;
use crate::data_keys::DataKeys;
use crate::grants::GrantTurns;
use crate::login_seal::{LoginSeal, LoginSealError};
use crate::news::Listener;
use crate::refresh::{Issuers, Limits, Postponements, SingleFlight, SweepPlace};
use crate::suspension::{Suspended, Suspension};
use crate::tally::Tally;
use crate::uses::Uses;

/// How a vault behaves.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// Names the database and everything that shares it; part of every sealed value, so that a copied database does
    /// not open elsewhere.
    pub cluster_id: String,
    /// Names this instance in leases, for people who look at a row.
    pub instance: String,
    /// How many opened credentials are kept in memory.
    pub opened_credentials: u64,
    /// How long an opened credential is trusted without looking at its row: what another process changes (a removal,
    /// a login) is noticed after this at the latest.
    pub opened_for: Duration,
    /// How many refreshes may be in flight at once: the most that a killed process can lose.
    pub refreshes_in_flight: usize,
    /// How many of them may be at one issuer.
    pub refreshes_per_issuer: usize,
    /// How many refreshes a sweep begins at one issuer in a second. Callers who wait are not counted.
    pub swept_per_second: u32,
    /// For how long after its last use a credential is kept fresh by the sweep. After that it is only kept alive.
    pub keep_fresh: Duration,
    /// How long a checkout waits for a refresh that is due, while the present access token still works; and how long
    /// it waits for somebody else's refresh.
    pub patience: Duration,
}

impl VaultConfig {
    /// The defaults: 10,000 opened credentials for a minute, 8 refreshes in flight, 4 of them at one issuer, a sweep of
    /// five a second at one issuer for what was used within a week, 5 s of patience.
    pub fn new(cluster_id: impl Into<String>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            instance: "single".to_owned(),
            opened_credentials: 10_000,
            opened_for: Duration::from_mins(1),
            refreshes_in_flight: 8,
            refreshes_per_issuer: 4,
            swept_per_second: 5,
            keep_fresh: Duration::from_hours(7 * 24),
            patience: Duration::from_secs(5),
        }
    }
}

/// What a vault tells others while it works, and where it writes before the database does. The default suits one process
/// whose stores are in memory.
#[derive(Clone)]
pub struct VaultSurroundings {
    /// Written before the row, replayed at a start.
    pub spill: Arc<dyn SpillStore>,
    /// Hears of events and figures.
    pub observer: Arc<dyn Observer>,
    /// Tells other instances what changed.
    pub changes: Arc<dyn ChangeFeed>,
}

impl Default for VaultSurroundings {
    fn default() -> Self {
        Self { spill: Arc::new(NoSpill), observer: Arc::new(NoObserver), changes: Arc::new(NoChangeFeed) }
    }
}

/// Keeps credentials, and gives out usable ones. Cheap to clone.
#[derive(Clone)]
pub struct Vault(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: VaultConfig,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) data_keys: DataKeys,
    pub(crate) keys: Arc<dyn KeyProvider>,
    pub(crate) refresher: Arc<dyn Refresher>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) surroundings: VaultSurroundings,
    pub(crate) opened: CredentialCache,
    pub(crate) flights: Arc<SingleFlight>,
    pub(crate) grant_turns: GrantTurns,
    pub(crate) postponed: Postponements,
    pub(crate) issuers: Issuers,
    pub(crate) sweep_place: SweepPlace,
    pub(crate) uses: Uses,
    pub(crate) from_memory: Tally,
    pub(crate) suspension: Suspended,
    pub(crate) unsaved: AtomicUsize,
    pub(crate) draining: AtomicBool,
}

/// How a vault is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultHealth {
    /// Answers of issuers that the store has not taken yet. They exist in this process alone: do not kill it.
    pub unsaved: usize,
    /// Refreshes under way, those included.
    pub in_flight: usize,
    /// Whether [`Vault::drain`] was called.
    pub draining: bool,
    /// Why no refresh is started, if that is so.
    pub suspended: Option<Suspension>,
}

impl VaultHealth {
    /// Whether this instance should get work. A suspended one should: it gives out the access tokens that still work.
    pub const fn is_ready(&self) -> bool {
        self.unsaved == 0 && !self.draining
    }
}

/// How draining ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Refreshes still under way when the deadline came; ending the process now may lose their grants.
    pub left: usize,
    /// Of these, the ones whose answer is here but not stored.
    pub unsaved: usize,
}

impl Vault {
    /// Puts a vault together, with the default surroundings.
    pub fn new(
        config: VaultConfig,
        stores: &Stores,
        keys: Arc<dyn KeyProvider>,
        refresher: Arc<dyn Refresher>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self::within(config, stores, keys, refresher, clock, entropy, VaultSurroundings::default())
    }

    /// Puts a vault together.
    pub fn within(
        config: VaultConfig,
        stores: &Stores,
        keys: Arc<dyn KeyProvider>,
        refresher: Arc<dyn Refresher>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        surroundings: VaultSurroundings,
    ) -> Self {
        let data_keys = DataKeys::new(
            config.cluster_id.clone(),
            Arc::clone(&stores.data_keys),
            Arc::clone(&keys),
            Arc::clone(&entropy),
            config.opened_credentials,
        );
        let limits = Limits {
            in_flight: config.refreshes_in_flight,
            per_issuer: config.refreshes_per_issuer,
            swept_per_second: config.swept_per_second,
        };
        let vault = Self(Arc::new(Inner {
            opened: CredentialCache::new(config.opened_credentials, config.opened_for),
            issuers: Issuers::new(limits),
            sweep_place: SweepPlace::default(),
            uses: Uses::default(),
            from_memory: Tally::default(),
            suspension: Suspended::default(),
            config,
            credentials: Arc::clone(&stores.credentials),
            data_keys,
            keys,
            refresher,
            clock,
            entropy,
            surroundings,
            flights: Arc::default(),
            grant_turns: GrantTurns::new(),
            postponed: Postponements::default(),
            unsaved: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }));
        vault.0.surroundings.changes.listen(Arc::new(Listener(Arc::downgrade(&vault.0))));
        vault
    }

    /// How many checkouts were answered from memory. The [`Observer`](bowerbird_core::ports::Observer) hears of the others.
    pub fn checkouts_from_memory(&self) -> u64 {
        self.0.from_memory.sum()
    }

    /// Forgets the opened credential of a connection, so that its row is read at the next checkout.
    pub fn forget(&self, connection: ConnectionId) {
        self.0.opened.forget(connection);
        self.0.postponed.clear(connection);
    }

    /// Forgets an account's opened data key; to be called when the account was removed.
    pub fn forget_account(&self, account: bowerbird_core::AccountId) {
        self.0.data_keys.forget(account);
    }

    /// How the vault is doing.
    pub fn health(&self) -> VaultHealth {
        VaultHealth {
            unsaved: self.0.unsaved.load(Ordering::Acquire),
            in_flight: self.0.flights.count(),
            draining: self.is_draining(),
            suspended: self.suspension(),
        }
    }

    /// Starts no refresh any more, and waits for those under way, at most `deadline`. Access tokens that still work
    /// are given out all the same. There is no way back.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.0.draining.store(true, Ordering::Release);
        // The deadline's end is not an error: what is left is counted.
        let _ = tokio::time::timeout(deadline, self.0.flights.all_landed()).await;
        self.flush_uses().await;
        let health = self.health();
        Drained { left: health.in_flight, unsaved: health.unsaved }
    }

    /// Seals a login under way, bound to its `state`: what belongs into
    /// [`AuthorizationRequestRecord::sealed`](bowerbird_core::AuthorizationRequestRecord::sealed).
    pub async fn seal_login(
        &self,
        request: &AuthorizationRequest,
        state: &StateHash,
    ) -> Result<Vec<u8>, LoginSealError> {
        self.login_seal().seal(request, state).await
    }

    /// Opens a login that [`Vault::seal_login`] sealed to the same `state`.
    pub async fn open_login(&self, sealed: &[u8], state: &StateHash) -> Result<AuthorizationRequest, LoginSealError> {
        self.login_seal().open(sealed, state).await
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    fn login_seal(&self) -> LoginSeal<'_> {
        LoginSeal { cluster_id: &self.0.config.cluster_id, keys: &*self.0.keys, entropy: &*self.0.entropy }
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("config", &self.0.config).field("health", &self.health()).finish_non_exhaustive()
    }
}
