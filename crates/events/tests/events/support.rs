//! An installation: stores, instances on them, and a receiver that answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{
    AccountEvent, AccountEventKind, AlertStore, Cas, CensusEntry, Change, ChangeFeed, ChangeListener, ClaimedDelivery,
    Clock, GrantFacts, HttpClient, HttpError, HttpFault, Incident, IncidentSubject, NewAccount, NewDelivery, Observer,
    PreparedRefresh, Purpose, RefreshRefusal, Refresher, StoreError, Stores, StreamBody, UntoldAccess,
};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{
    Account, AccountId, Connection, ConnectionId, CredentialRecord, CredentialState, Did, Generation, NeedsReauth,
    Platform, RefreshClass, Schedule, SealedFields, SealedTokens, Timestamp,
};
use bowerbird_events::{EventHub, HubConfig, HubPorts, WebhookConfig, WebhookSecret};
use bowerbird_vault::{Vault, VaultConfig};
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp::from_seconds(1_767_225_600);
pub(crate) const KEY: [u8; 32] = [5; 32];
pub(crate) const ADDRESS: &str = "https://receiver.example/hook?key=canary";

/// The clock of the test's runtime, which stands still until everybody waits.
pub(crate) struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "the virtual clock of the test's runtime")]
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        BEGINNING.plus_millis(i64::try_from(self.monotonic().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    Status(u16),
    RetryAfter(&'static str),
    Unreachable,
    /// Takes it and never answers.
    Silent,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) after: Duration,
    pub(crate) request: Request<Bytes>,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.request.headers()[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.request.body()).unwrap()
    }
}

/// The network: every address is the same receiver.
pub(crate) struct Receiver {
    clock: Arc<RuntimeClock>,
    /// What is done with the next requests; after that everything is taken.
    pub(crate) script: Mutex<Vec<Behaviour>>,
    came: Mutex<Vec<Came>>,
}

impl Receiver {
    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().clone()
    }

    /// The types of what came.
    pub(crate) fn types(&self) -> Vec<String> {
        self.came().iter().map(|came| came.json()["type"].as_str().unwrap().to_owned()).collect()
    }
}

#[async_trait]
impl HttpClient for Receiver {
    async fn send(&self, request: Request<Bytes>, purpose: Purpose) -> Result<Response<Bytes>, HttpError> {
        assert_eq!(purpose, Purpose::Webhook);
        self.came.lock().push(Came { after: self.clock.monotonic(), request });
        let behaviour = {
            let mut script = self.script.lock();
            if script.is_empty() { Behaviour::Status(204) } else { script.remove(0) }
        };
        let answer = |status| Response::builder().status(status);
        match behaviour {
            Behaviour::Status(status) => Ok(answer(status).body(Bytes::new()).unwrap()),
            Behaviour::RetryAfter(text) => Ok(answer(429).header("retry-after", text).body(Bytes::new()).unwrap()),
            Behaviour::Unreachable => Err(HttpError::not_sent(HttpFault::Connect, None)),
            Behaviour::Silent => std::future::pending().await,
        }
    }

    async fn stream(&self, _request: Request<StreamBody>) -> Result<Response<StreamBody>, HttpError> {
        panic!("webhooks are not streamed")
    }
}

/// Carries changes between the instances of a test.
#[derive(Default)]
pub(crate) struct Feed(Mutex<Vec<Arc<dyn ChangeListener>>>);

#[async_trait]
impl ChangeFeed for Feed {
    async fn publish(&self, change: Change) {
        for listener in &*self.0.lock() {
            listener.changed(&change);
        }
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        self.0.lock().push(listener);
    }
}

/// An alert store that can be away.
struct Flaky {
    inner: Arc<dyn AlertStore>,
    away: Arc<AtomicBool>,
}

impl Flaky {
    fn here(&self) -> Result<&dyn AlertStore, StoreError> {
        let away = self.away.load(Ordering::Relaxed);
        if away { Err(StoreError::Unavailable("away".into())) } else { Ok(self.inner.as_ref()) }
    }
}

#[async_trait]
impl AlertStore for Flaky {
    async fn open(&self, incident: &Incident, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        self.here()?.open(incident, deliveries).await
    }
    async fn close(&self, subject: &IncidentSubject, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        self.here()?.close(subject, deliveries).await
    }
    async fn untold(&self, limit: u32) -> Result<Vec<UntoldAccess>, StoreError> {
        self.here()?.untold(limit).await
    }
    async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<(), StoreError> {
        self.here()?.enqueue(deliveries).await
    }
    async fn next_due(&self, endpoint: &str) -> Result<Option<Timestamp>, StoreError> {
        self.here()?.next_due(endpoint).await
    }
    async fn claim(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.here()?.claim(endpoint, now, until, limit).await
    }
    async fn settle(&self, claimed: &ClaimedDelivery) -> Result<Cas, StoreError> {
        self.here()?.settle(claimed).await
    }
    async fn postpone(&self, claimed: &ClaimedDelivery, due_at: Timestamp) -> Result<Cas, StoreError> {
        self.here()?.postpone(claimed, due_at).await
    }
    async fn waiting(&self, at_most: u32) -> Result<u64, StoreError> {
        self.here()?.waiting(at_most).await
    }
    async fn purge(&self, created_before: Timestamp) -> Result<u64, StoreError> {
        self.here()?.purge(created_before).await
    }
    async fn census(&self, now: Timestamp) -> Result<Vec<CensusEntry>, StoreError> {
        self.here()?.census(now).await
    }
}

/// Nothing is refreshed here.
struct NoRefresher;

#[async_trait]
impl Refresher for NoRefresher {
    async fn prepare(&self, _grant: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        panic!("nothing is refreshed here")
    }
}

/// Everything that instances share.
pub(crate) struct House {
    pub(crate) clock: Arc<RuntimeClock>,
    entropy: Arc<SeededEntropy>,
    pub(crate) stores: Stores,
    pub(crate) away: Arc<AtomicBool>,
    pub(crate) receiver: Arc<Receiver>,
    feed: Arc<Feed>,
    pub(crate) types: Vec<&'static str>,
    pub(crate) addresses: Vec<&'static str>,
}

/// A running instance; [`Instance::die`] ends it in the middle of whatever it does.
pub(crate) struct Instance {
    pub(crate) hub: EventHub,
    pub(crate) vault: Vault,
    running: JoinHandle<()>,
}

impl House {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(RuntimeClock::start());
        let mut stores = MemoryStores::new();
        let away = Arc::<AtomicBool>::default();
        stores.alerts = Arc::new(Flaky { inner: Arc::clone(&stores.alerts), away: Arc::clone(&away) });
        let receiver =
            Arc::new(Receiver { clock: Arc::clone(&clock), script: Mutex::default(), came: Mutex::default() });
        let types = vec![
            "needs_reauth",
            "lost_response",
            "outcome_unknown",
            "recovered",
            "refreshing_suspended",
            "refreshing_resumed",
        ];
        let (entropy, feed) = (Arc::new(SeededEntropy::new(7)), Arc::default());
        Self { clock, entropy, stores, away, receiver, feed, types, addresses: vec![ADDRESS] }
    }

    pub(crate) fn start(&self) -> Instance {
        let config = HubConfig {
            origin: "https://bower.example".to_owned(),
            instance: "one".to_owned(),
            version: "1.2.3",
            webhooks: WebhookConfig {
                addresses: self.addresses.iter().map(|address| address.parse().unwrap()).collect(),
                secrets: vec![WebhookSecret::parse(&WebhookSecret::generate(&KEY)).unwrap()],
                types: self.types.iter().map(|&kind| kind.to_owned()).collect(),
            },
            counts: true,
        };
        let ports = HubPorts {
            stores: self.stores.clone(),
            http: Arc::clone(&self.receiver) as _,
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::clone(&self.entropy) as _,
            changes: Arc::clone(&self.feed) as _,
        };
        let (hub, teller) = EventHub::new(config, ports);
        let keys = Arc::new(FixedKeys::one());
        let (clock, entropy) = (Arc::clone(&self.clock) as _, Arc::clone(&self.entropy) as _);
        let vault = Vault::new(VaultConfig::new("cluster"), &self.stores, keys, Arc::new(NoRefresher), clock, entropy);
        let running = tokio::spawn(teller.run(vault.clone()));
        Instance { hub, vault, running }
    }

    /// An account with a credential.
    pub(crate) async fn account(&self, number: u8) -> (Account, ConnectionId) {
        let did = Did::parse(&format!("did:web:n{number}.example")).unwrap();
        let new = NewAccount {
            id: AccountId::random(self.entropy.as_ref()),
            did: did.clone(),
            handle: format!("n{number}.example"),
            pds: "https://pds.example".to_owned(),
            now: BEGINNING,
        };
        let account = self.stores.accounts.sign_in(new).await.unwrap();
        let connection = Connection {
            id: ConnectionId::random(self.entropy.as_ref()),
            account: account.id,
            platform: Platform::atproto(),
            subject: did.to_string(),
            created_at: BEGINNING,
        };
        self.stores.connections.ensure(&connection).await.unwrap();
        let record = CredentialRecord {
            connection: connection.id,
            account: account.id,
            generation: Generation::FIRST,
            issuer: "https://issuer.example".to_owned(),
            audience: "https://pds.example".to_owned(),
            subject: did.to_string(),
            client_kid: None,
            refresh_class: RefreshClass::SingleUse,
            state: CredentialState::Ok,
            schedule: Schedule::default(),
            used_at: BEGINNING,
            fields: SealedFields { dpop_key: vec![1], granted_generation: Generation::FIRST, granted_at: BEGINNING },
            tokens: SealedTokens {
                access_token: vec![1],
                refresh_token: Some(vec![1]),
                issued_at: BEGINNING,
                access_expires_at: BEGINNING.plus_seconds(3600),
                scope: "atproto".to_owned(),
            },
        };
        assert_eq!(self.stores.credentials.replace(&record, None).await.unwrap(), Cas::Done);
        (account, connection.id)
    }

    /// Writes a state, as the vault does before it tells.
    pub(crate) async fn set(&self, connection: ConnectionId, state: &CredentialState) {
        let schedule = Schedule::default();
        let done = self.stores.credentials.set_state(connection, Generation::FIRST, state, schedule).await;
        assert_eq!(done.unwrap(), Cas::Done);
    }

    /// The access ends, and the instances hear of it.
    pub(crate) async fn ends(&self, of: &(Account, ConnectionId), hearers: &[&Instance]) {
        self.set(of.1, &CredentialState::NeedsReauth(NeedsReauth::Revoked)).await;
        for instance in hearers {
            self.tell(instance, of, AccountEventKind::NeedsReauth(NeedsReauth::Revoked));
        }
        settled(hearers).await;
    }

    /// The access works again, and the instances hear of it.
    pub(crate) async fn heals(&self, of: &(Account, ConnectionId), hearers: &[&Instance]) {
        self.set(of.1, &CredentialState::Ok).await;
        for instance in hearers {
            self.tell(instance, of, AccountEventKind::Recovered);
        }
        settled(hearers).await;
    }

    pub(crate) fn tell(&self, instance: &Instance, of: &(Account, ConnectionId), kind: AccountEventKind) {
        instance.hub.event(&AccountEvent { at: self.clock.now(), account: of.0.id, connection: of.1, kind });
    }

    /// How many webhooks wait.
    pub(crate) async fn waiting(&self) -> u64 {
        self.stores.alerts.waiting(100).await.unwrap()
    }
}

impl Instance {
    /// kill -9.
    pub(crate) async fn die(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    /// Reads one figure.
    pub(crate) fn figure(&self, name: &str) -> String {
        let text = self.hub.metrics().render(&self.vault.health(), 0, self.vault.checkouts_from_memory());
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).to_owned()
    }
}

/// Lets the instances tell everything, and receivers answer.
pub(crate) async fn settled(instances: &[&Instance]) {
    for instance in instances {
        instance.hub.settle(Duration::from_mins(1)).await;
    }
    pass(Duration::from_secs(1)).await;
}

pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
