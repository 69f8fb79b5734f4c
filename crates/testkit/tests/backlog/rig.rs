//! The whole engine: vault, SQLite file, spill, HTTP client and issuers that take no more than they say. Time leaps, for the
//! engine and its issuers alike: half an hour of the sweep's pace passes in half a minute.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_atproto::{Atproto, AtprotoConfig, AtprotoPorts};
use bowerbird_core::ports::{Clock, Entropy, NewAccount, Stores};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{
    AccountId, Connection, ConnectionId, Did, Platform, RefreshClass, Secret, SecretBytes, Timestamp,
};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::{SigningKey, TransportPolicy};
use bowerbird_storage_file::{FileSpill, SPILL_BYTES};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::{AuthorizationServer, FaultNetwork, NetworkClock, Pds, RateLimit};
use bowerbird_vault::{NewGrant, VaultSurroundings};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use url::Url;

/// Refreshes that the vault has at one issuer at once, callers among them.
pub(crate) const PER_ISSUER: usize = 4;
/// Of an access token, in seconds.
pub(crate) const LIFE: u64 = 3600;
const SCOPE: &str = "atproto transition:generic";
/// Accounts that are set up at the same time.
const SET_UP_AT_ONCE: usize = 32;

/// The clock of the engine: the true one, and what it leapt. The issuers' clock leaps with it, in whole seconds.
pub(crate) struct LeapingClock {
    true_clock: SystemClock,
    leapt: Mutex<Duration>,
    network: NetworkClock,
}

impl LeapingClock {
    pub(crate) fn leap(&self, by: Duration) {
        let mut leapt = self.leapt.lock();
        *leapt += by;
        self.network.set_off(i64::try_from(leapt.as_secs()).unwrap());
    }
}

impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        self.true_clock.now().plus_millis(i64::try_from(self.leapt.lock().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.true_clock.monotonic() + *self.leapt.lock()
    }
}

/// Where an account is at home.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) pds: Pds,
    pub(crate) issuer: AuthorizationServer,
}

/// An account with a grant.
#[derive(Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) connection: ConnectionId,
    /// Of [`Rig::homes`].
    pub(crate) home: usize,
}

pub(crate) struct Rig {
    pub(crate) network: FaultNetwork,
    /// The servers behind the entryway first, then those that are their own issuers.
    pub(crate) homes: Vec<Home>,
    pub(crate) clock: Arc<LeapingClock>,
    pub(crate) database: SqlStores,
    pub(crate) stores: Stores,
    pub(crate) atproto: Atproto,
}

impl Rig {
    /// Several servers behind one entryway, and many that stand for themselves. Each issuer takes what it documents.
    pub(crate) async fn start(folder: &Path, behind_entryway: usize, alone: usize) -> Self {
        let network = FaultNetwork::start_with_entryway().await;
        let entryway = network.authorization_server();
        let mut homes = vec![Home { pds: network.pds(), issuer: entryway.clone() }];
        homes.extend((1..behind_entryway).map(|_| Home { pds: network.add_pds(&entryway), issuer: entryway.clone() }));
        homes.extend((0..alone).map(|_| {
            let (pds, issuer) = network.add_self_hosted();
            Home { pds, issuer }
        }));
        let clock = Arc::new(LeapingClock {
            true_clock: SystemClock::new(),
            leapt: Mutex::default(),
            network: network.clock().clone(),
        });
        let path = folder.join("b.sqlite");
        let database = SqlStores::open(&format!("sqlite:{}", path.display())).await.unwrap();
        let stores = database.stores();
        let atproto = engine(&network, &clock, &stores, folder);
        for home in &homes {
            home.issuer.set_access_seconds(i64::try_from(LIFE).unwrap());
            home.issuer.server().limit(RateLimit::documented(PER_ISSUER));
        }
        Self { network, homes, clock, database, stores, atproto }
    }

    /// The issuer of most accounts.
    pub(crate) fn entryway(&self) -> &AuthorizationServer {
        &self.homes[0].issuer
    }

    /// The issuers, each once.
    pub(crate) fn issuers(&self) -> Vec<AuthorizationServer> {
        let mut issuers: Vec<AuthorizationServer> = Vec::new();
        for home in &self.homes {
            if issuers.iter().all(|known| known.issuer() != home.issuer.issuer()) {
                issuers.push(home.issuer.clone());
            }
        }
        issuers
    }

    /// Gives so many new accounts of each of these homes a grant, without the walk of a sign-in.
    pub(crate) async fn grant(&self, name: &str, homes: impl IntoIterator<Item = (usize, usize)>) -> Vec<Granted> {
        let all = homes.into_iter().flat_map(|(home, count)| (0..count).map(move |number| (home, number)));
        let granted = all.map(|(home, number)| self.grant_one(home, format!("{name}-{home}-{number}.test")));
        stream::iter(granted).buffer_unordered(SET_UP_AT_ONCE).collect().await
    }

    async fn grant_one(&self, home: usize, handle: String) -> Granted {
        let Home { pds, issuer } = &self.homes[home];
        let resident = self.network.add_account_at(pds, &handle);
        let key = fresh_key();
        let tokens = issuer.issue(&resident.did, self.atproto.client.client_id(), key.thumbprint(), SCOPE);
        let (entropy, now) = (OsEntropy, self.clock.now());
        let did = Did::parse(&resident.did).unwrap();
        let account =
            NewAccount { id: AccountId::random(&entropy), did: did.clone(), handle, pds: pds.origin().to_owned(), now };
        let account = self.stores.accounts.sign_in(account).await.unwrap().id;
        let connection = Connection {
            id: ConnectionId::random(&entropy),
            account,
            platform: Platform::atproto(),
            subject: resident.did,
            created_at: now,
        };
        let connection = self.stores.connections.ensure(&connection).await.unwrap().id;
        let grant = NewGrant {
            connection,
            account,
            subject: did,
            issuer: issuer.issuer().to_owned(),
            audience: pds.origin().to_owned(),
            client_kid: None,
            refresh_class: RefreshClass::SingleUse,
            dpop_key: Some(SecretBytes::new(*key.scalar().expose().first_chunk::<32>().unwrap())),
            access_token: Secret::new(tokens.access_token),
            refresh_token: Some(Secret::new(tokens.refresh_token)),
            expires_in: tokens.expires_in,
            scope: SCOPE.to_owned(),
        };
        self.atproto.vault.grant(grant).await.unwrap();
        Granted { connection, home }
    }
}

/// Another engine on the same network and clock, such as after a restart.
pub(crate) fn engine(network: &FaultNetwork, clock: &Arc<LeapingClock>, stores: &Stores, folder: &Path) -> Atproto {
    let hosts = network.egress_allow();
    let net = NetConfig {
        egress_allow: hosts.split(',').map(|host| host.parse().unwrap()).collect(),
        dns_servers: vec![network.dns().address()],
        trust_system_roots: false,
        ..NetConfig::default()
    };
    // By the true clock: its deadlines and its pool are about real connections.
    let net = NetClient::new(net, Arc::new(SystemClock::new())).unwrap();
    let mut config = AtprotoConfig::new(Url::parse("http://127.0.0.1:8080").unwrap()).unwrap();
    config.plc_url = Url::parse(network.plc().server().origin()).unwrap();
    config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
    assert_eq!(config.vault.refreshes_per_issuer, PER_ISSUER, "the limit of the issuers is the default of the vault");
    let spill = FileSpill::open(folder, SPILL_BYTES).unwrap();
    let ports = AtprotoPorts {
        http: Arc::clone(&net) as _,
        dns: net,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(OsEntropy),
        stores: stores.clone(),
        keys: Arc::new(FixedKeys::one()),
        surroundings: VaultSurroundings { spill: Arc::new(spill), ..VaultSurroundings::default() },
    };
    Atproto::new(config, ports).unwrap()
}

fn fresh_key() -> SigningKey {
    loop {
        let mut scalar = [0; 32];
        OsEntropy.fill(&mut scalar);
        if let Ok(key) = SigningKey::from_scalar(&scalar) {
            return key;
        }
    }
}
