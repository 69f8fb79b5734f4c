//! One connection with a grant, an issuer on script, and a store that fails on demand.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{
    BegunRefresh, Cas, Clock as _, CredentialStore, DataKeyStore, DueCredential, DuePlace, GrantFacts, LeaseRequest,
    NewAccount, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Refresher, StoreError, Stores,
};
use bowerbird_core::testing::{FixedKeys, SeededEntropy, TestClock};
use bowerbird_core::{
    AccountId, Connection, ConnectionId, CredentialRecord, CredentialState, Did, Generation, NeedsReauth, Platform,
    RefreshClass, Schedule, SealedTokens, Secret, SecretBytes, Timestamp, WrappedDataKey,
};
use bowerbird_vault::{NewGrant, Vault, VaultConfig};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The life of an access token, in seconds.
pub(crate) const LIFE: i64 = 3600;
/// Seconds after a login at which the access token is due, and past use.
pub(crate) const DUE: u64 = 3000;
pub(crate) const EXPIRED: u64 = 3601;

/// The generations of the first grant's token sets: 1 is the login's own.
pub(crate) const fn nth(number: i64) -> Generation {
    Generation(1_767_225_600_000 + number - 1)
}

pub(crate) struct House {
    pub(crate) vault: Vault,
    pub(crate) stores: Stores,
    pub(crate) credentials: Arc<FailingCredentials>,
    pub(crate) issuer: Arc<ScriptedIssuer>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) account: AccountId,
    pub(crate) connection: ConnectionId,
}

impl House {
    /// A vault with one granted connection: `at-0`, `rt-0`, generation `nth(1)`.
    pub(crate) async fn new() -> Self {
        let house = Self::empty().await;
        house.vault.grant(house.grant("at-0", Some("rt-0"))).await.unwrap();
        house
    }

    pub(crate) async fn empty() -> Self {
        let clock = Arc::new(TestClock::new());
        let mut stores = MemoryStores::new();
        let credentials = Arc::new(FailingCredentials::new(Arc::clone(&stores.credentials), Arc::clone(&clock)));
        stores.credentials = Arc::clone(&credentials) as Arc<dyn CredentialStore>;
        let issuer = Arc::new(ScriptedIssuer::default());
        let (account, connection) = connect(&stores, &clock, 1).await;
        let vault = vault_on(&stores, &issuer, &clock, FixedKeys::one(), "cluster-a");
        Self { vault, stores, credentials, issuer, clock, account, connection }
    }

    /// Another instance, or this one after a crash: the same stores, its own memory, an issuer of its own.
    pub(crate) fn second_instance(&self) -> (Vault, Arc<ScriptedIssuer>) {
        let issuer = Arc::new(ScriptedIssuer::default());
        (vault_on(&self.stores, &issuer, &self.clock, FixedKeys::one(), "cluster-a"), issuer)
    }

    pub(crate) fn grant(&self, access_token: &str, refresh_token: Option<&str>) -> NewGrant {
        new_grant(self.account, self.connection, access_token, refresh_token)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn state(&self) -> CredentialState {
        self.vault.standing(self.connection).await.unwrap().unwrap().state
    }

    pub(crate) async fn row(&self) -> CredentialRecord {
        self.stores.credentials.find(self.connection).await.unwrap().unwrap()
    }

    pub(crate) async fn stored_refresh_token(&self) -> String {
        let grant = self.vault.open(self.connection).await.unwrap().unwrap();
        grant.refresh_token.unwrap().expose().to_owned()
    }
}

pub(crate) fn vault_on(
    stores: &Stores,
    issuer: &Arc<ScriptedIssuer>,
    clock: &Arc<TestClock>,
    keys: FixedKeys,
    cluster: &str,
) -> Vault {
    let seed = u64::try_from(Arc::as_ptr(issuer).addr()).unwrap();
    let entropy = Arc::new(SeededEntropy::new(seed));
    Vault::new(VaultConfig::new(cluster), stores, Arc::new(keys), issuer_port(issuer), Arc::clone(clock) as _, entropy)
}

pub(crate) fn issuer_port(issuer: &Arc<ScriptedIssuer>) -> Arc<dyn Refresher> {
    Arc::new(IssuerPort(Arc::clone(issuer)))
}

/// Adds an account with a connection.
pub(crate) async fn connect(stores: &Stores, clock: &TestClock, seed: u64) -> (AccountId, ConnectionId) {
    let entropy = SeededEntropy::new(seed);
    let account = NewAccount {
        id: AccountId::random(&entropy),
        did: Did::parse(&format!("did:plc:{seed:0>24}")).unwrap(),
        handle: "alice.test".to_owned(),
        pds: "https://pds.example".to_owned(),
        now: clock.now(),
    };
    let account = stores.accounts.sign_in(account).await.unwrap().id;
    let connection = Connection {
        id: ConnectionId::random(&entropy),
        account,
        platform: Platform::atproto(),
        subject: format!("did:plc:{seed:0>24}"),
        created_at: clock.now(),
    };
    (account, stores.connections.ensure(&connection).await.unwrap().id)
}

pub(crate) fn new_grant(
    account: AccountId,
    connection: ConnectionId,
    access_token: &str,
    refresh_token: Option<&str>,
) -> NewGrant {
    NewGrant {
        connection,
        account,
        subject: Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap(),
        issuer: "https://issuer.example".to_owned(),
        audience: "https://pds.example".to_owned(),
        client_kid: Some("client-key-1".to_owned()),
        refresh_class: RefreshClass::SingleUse,
        dpop_key: Some(SecretBytes::new([9; 32])),
        access_token: Secret::new(access_token),
        refresh_token: refresh_token.map(Secret::new),
        expires_in: LIFE,
        scope: "atproto transition:generic".to_owned(),
    }
}

/// What the issuer makes of the next refresh token.
pub(crate) enum Reply {
    /// New tokens, named after the number of the send: `at-1`, `rt-1`.
    Granted,
    /// New tokens that must not be used.
    Fault(NeedsReauth),
    /// New tokens with that scope.
    Scope(&'static str),
    /// A new access token alone.
    WithoutRefreshToken,
    NotConsumed(Option<Timestamp>),
    Refused,
    Unknown,
    /// No answer, ever: as if the process died while it waited.
    Never,
    /// The task breaks.
    Panic,
}

/// Speaks as a server with single-use refresh tokens, on script; grants when the script is empty.
#[derive(Default)]
pub(crate) struct ScriptedIssuer {
    pub(crate) replies: Mutex<VecDeque<Reply>>,
    pub(crate) refusals: Mutex<VecDeque<RefreshRefusal>>,
    pub(crate) hang_preparations: AtomicBool,
    /// While set, sends wait until [`ScriptedIssuer::release`].
    pub(crate) hold: AtomicBool,
    released: Notify,
    pub(crate) preparations: AtomicUsize,
    /// Every refresh token that was sent, in order.
    pub(crate) sent: Mutex<Vec<String>>,
    spent: Mutex<HashSet<String>>,
    replays: AtomicUsize,
    in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
}

impl ScriptedIssuer {
    pub(crate) fn reply(&self, reply: Reply) {
        self.replies.lock().push_back(reply);
    }

    pub(crate) fn refuse(&self, refusal: RefreshRefusal) {
        self.refusals.lock().push_back(refusal);
    }

    pub(crate) fn hold(&self) {
        self.hold.store(true, Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.hold.store(false, Ordering::SeqCst);
        self.released.notify_waiters();
    }

    /// How many refresh tokens were sent.
    pub(crate) fn sends(&self) -> usize {
        self.sent.lock().len()
    }

    /// How many of them had been answered with a successor before.
    pub(crate) fn replays(&self) -> usize {
        self.replays.load(Ordering::SeqCst)
    }

    /// Waits until so many were sent.
    pub(crate) async fn saw(&self, sends: usize) {
        while self.sends() < sends {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(&self, refresh_token: &Secret) -> RefreshOutcome {
        let token = refresh_token.expose().to_owned();
        let number = {
            let mut sent = self.sent.lock();
            sent.push(token.clone());
            sent.len()
        };
        if self.spent.lock().contains(&token) {
            self.replays.fetch_add(1, Ordering::SeqCst);
        }
        let flying = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(flying, Ordering::SeqCst);
        loop {
            let released = self.released.notified();
            if !self.hold.load(Ordering::SeqCst) {
                break;
            }
            released.await;
        }
        let reply = self.replies.lock().pop_front().unwrap_or(Reply::Granted);
        let outcome = self.outcome(reply, token, number).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    async fn outcome(&self, reply: Reply, token: String, number: usize) -> RefreshOutcome {
        let tokens = |with_refresh: bool, scope: Option<&str>| RefreshedTokens {
            access_token: Secret::new(format!("at-{number}")),
            refresh_token: with_refresh.then(|| Secret::new(format!("rt-{number}"))),
            expires_in: LIFE,
            scope: scope.map(str::to_owned),
        };
        match reply {
            Reply::Granted => {
                self.spent.lock().insert(token);
                RefreshOutcome::Granted { tokens: tokens(true, Some("atproto transition:generic")), fault: None }
            }
            Reply::Fault(fault) => {
                self.spent.lock().insert(token);
                RefreshOutcome::Granted { tokens: tokens(true, None), fault: Some(fault) }
            }
            Reply::Scope(scope) => RefreshOutcome::Granted { tokens: tokens(true, Some(scope)), fault: None },
            Reply::WithoutRefreshToken => RefreshOutcome::Granted { tokens: tokens(false, None), fault: None },
            Reply::NotConsumed(not_before) => RefreshOutcome::NotConsumed { not_before, source: "nonce".into() },
            Reply::Refused => RefreshOutcome::Refused { description: Some("no such grant".to_owned()) },
            Reply::Unknown => RefreshOutcome::Unknown { source: "connection reset".into() },
            Reply::Never => std::future::pending().await,
            Reply::Panic => panic!("the refresher broke (on purpose)"),
        }
    }
}

struct IssuerPort(Arc<ScriptedIssuer>);

struct Prepared(Arc<ScriptedIssuer>);

#[async_trait]
impl Refresher for IssuerPort {
    async fn prepare(&self, grant: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        assert!(grant.issuer.starts_with("https://issuer.example"));
        assert_eq!(grant.client_kid.as_deref(), Some("client-key-1"));
        assert_eq!(grant.dpop_key.as_ref().unwrap().scalar().expose(), [9; 32]);
        self.0.preparations.fetch_add(1, Ordering::SeqCst);
        while self.0.hang_preparations.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match self.0.refusals.lock().pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(Box::new(Prepared(Arc::clone(&self.0)))),
        }
    }
}

#[async_trait]
impl PreparedRefresh for Prepared {
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome {
        self.0.answer(&refresh_token).await
    }
}

/// Data keys behind a store that lets others in between a caller's read and its write.
pub(crate) struct SlowDataKeys(pub(crate) Arc<dyn DataKeyStore>);

#[async_trait]
impl DataKeyStore for SlowDataKeys {
    async fn find(&self, account: AccountId) -> Result<Option<WrappedDataKey>, StoreError> {
        let found = self.0.find(account).await;
        tokio::task::yield_now().await;
        found
    }

    async fn ensure(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, StoreError> {
        self.0.ensure(key).await
    }

    async fn rewrap(&self, key: &WrappedDataKey, seen_kek_id: &str) -> Result<Cas, StoreError> {
        self.0.rewrap(key, seen_kek_id).await
    }

    async fn page_by_kek(
        &self,
        not_kek_id: &str,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<WrappedDataKey>, StoreError> {
        self.0.page_by_kek(not_kek_id, after, limit).await
    }

    async fn count_by_kek(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.0.count_by_kek().await
    }
}

/// What to do with the next writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fail {
    /// Nothing was written.
    Before,
    /// It was written, and the acknowledgement was lost.
    After,
}

/// A credential store that fails, is slow, and counts.
pub(crate) struct FailingCredentials {
    pub(crate) inner: Arc<dyn CredentialStore>,
    clock: Arc<TestClock>,
    pub(crate) commits: Mutex<VecDeque<Fail>>,
    pub(crate) commits_down: AtomicBool,
    /// While set, nothing works.
    pub(crate) down: AtomicBool,
    /// Its row is no row.
    pub(crate) unreadable: Mutex<Option<ConnectionId>>,
    pub(crate) begins: Mutex<VecDeque<Fail>>,
    pub(crate) states_down: AtomicBool,
    /// Seconds that writing an intent takes.
    pub(crate) begin_takes: AtomicUsize,
    pub(crate) finds: AtomicUsize,
    pub(crate) intents: AtomicUsize,
    pub(crate) commit_calls: AtomicUsize,
}

impl FailingCredentials {
    fn new(inner: Arc<dyn CredentialStore>, clock: Arc<TestClock>) -> Self {
        Self {
            inner,
            clock,
            commits: Mutex::default(),
            commits_down: AtomicBool::new(false),
            down: AtomicBool::new(false),
            unreadable: Mutex::default(),
            begins: Mutex::default(),
            states_down: AtomicBool::new(false),
            begin_takes: AtomicUsize::new(0),
            finds: AtomicUsize::new(0),
            intents: AtomicUsize::new(0),
            commit_calls: AtomicUsize::new(0),
        }
    }
}

impl FailingCredentials {
    fn reach(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) { unavailable() } else { Ok(()) }
    }
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("disk full".into()))
}

#[async_trait]
impl CredentialStore for FailingCredentials {
    async fn find(&self, connection: ConnectionId) -> Result<Option<CredentialRecord>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        if *self.unreadable.lock() == Some(connection) {
            return Err(StoreError::Inconsistent { table: "credentials", column: "state" });
        }
        self.inner.find(connection).await
    }

    async fn replace(&self, record: &CredentialRecord, seen: Option<Generation>) -> Result<Cas, StoreError> {
        self.reach()?;
        // Lets other writers in between a caller's read and its write.
        tokio::task::yield_now().await;
        self.inner.replace(record, seen).await
    }

    async fn begin_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        lease: LeaseRequest<'_>,
    ) -> Result<Option<BegunRefresh>, StoreError> {
        self.reach()?;
        tokio::task::yield_now().await;
        let fail = self.begins.lock().pop_front();
        if fail == Some(Fail::Before) {
            return unavailable();
        }
        let before = self.inner.begin_refresh(connection, seen, lease).await;
        self.clock.advance(Duration::from_secs(self.begin_takes.load(Ordering::SeqCst) as u64));
        self.intents.fetch_add(1, Ordering::SeqCst);
        if fail == Some(Fail::After) { unavailable() } else { before }
    }

    async fn commit_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        tokens: &SealedTokens,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.commit_calls.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        let fail = self.commits.lock().pop_front();
        if fail == Some(Fail::Before) || self.commits_down.load(Ordering::SeqCst) {
            return unavailable();
        }
        let cas = self.inner.commit_refresh(connection, seen, tokens, state, schedule).await;
        if fail == Some(Fail::After) { unavailable() } else { cas }
    }

    async fn set_state(
        &self,
        connection: ConnectionId,
        seen: Generation,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.reach()?;
        if self.states_down.load(Ordering::SeqCst) {
            return unavailable();
        }
        self.inner.set_state(connection, seen, state, schedule).await
    }

    async fn end_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        intent_at: Timestamp,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.reach()?;
        if self.states_down.load(Ordering::SeqCst) {
            return unavailable();
        }
        self.inner.end_refresh(connection, seen, intent_at, state, schedule).await
    }

    async fn due(&self, now: Timestamp, after: Option<DuePlace>, limit: u32) -> Result<Vec<DueCredential>, StoreError> {
        self.reach()?;
        self.inner.due(now, after, limit).await
    }

    async fn note_use(&self, uses: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError> {
        self.reach()?;
        self.inner.note_use(uses).await
    }

    async fn count_by_reason(&self) -> Result<Vec<(Option<NeedsReauth>, u64)>, StoreError> {
        self.inner.count_by_reason().await
    }

    async fn count_by_client_key(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        self.inner.count_by_client_key().await
    }

    async fn remove(&self, connection: ConnectionId, seen: Generation) -> Result<Cas, StoreError> {
        self.reach()?;
        // Lets other writers in between a caller's read and its write.
        tokio::task::yield_now().await;
        self.inner.remove(connection, seen).await
    }
}
