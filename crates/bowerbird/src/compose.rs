//! The composition: the only place that names concrete adapters.

use std::path::Path;
use std::sync::Arc;

use bowerbird_atproto::{AllowedServices, Atproto, AtprotoConfig, AtprotoPorts, ProxyPolicyConfig, ResolverMode};
use bowerbird_core::ports::{Clock, Entropy, KeyProvider, NoSpill, SpillStore, Stores};
use bowerbird_events::{EventHub, HubConfig, HubPorts, Teller};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::{PrivateJwkSet, TransportPolicy};
use bowerbird_server::{SharedTier, SnapshotTier};
use bowerbird_storage_file::{FileSpill, SPILL_BYTES};
use bowerbird_storage_redis::RedisTier;
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{SnapshotSeal, VaultConfig, VaultSurroundings};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::commands::{CONFIG, Failure};
use crate::config::{self, EncryptionKeys, Settings};
use crate::guards::Guards;
use crate::load::Loaded;

/// How many logins may be under way at once before new ones are turned away.
const LOGIN_CAP: u64 = 100_000;

/// Everything that a command needs, wired.
pub(crate) struct Composition {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) database: SqlStores,
    pub(crate) stores: Stores,
    pub(crate) atproto: Atproto,
    pub(crate) net: Arc<NetClient>,
    pub(crate) redis: Option<RedisTier>,
    pub(crate) shared: SharedTier,
    pub(crate) guards: Guards,
    pub(crate) events: EventHub,
    /// Tells what `events` hears, once somebody runs it.
    pub(crate) teller: Teller,
}

/// Opens the database, the network and the keys, and builds the use cases on them: for a command that refreshes nothing.
pub(crate) async fn compose(loaded: &Loaded) -> Result<Composition, Failure> {
    put_together(loaded, |_| Ok(Arc::new(NoSpill))).await
}

/// The same for a server, and for whatever else refreshes: renewed tokens are written down before the database has them.
pub(crate) async fn compose_to_refresh(loaded: &Loaded) -> Result<Composition, Failure> {
    let spill = |settings: &Settings| -> Result<Arc<dyn SpillStore>, Failure> {
        Ok(Arc::new(FileSpill::open(&settings.data_dir, SPILL_BYTES).map_err(Failure::internal)?))
    };
    put_together(loaded, spill).await
}

async fn put_together(
    loaded: &Loaded,
    spill: impl FnOnce(&Settings) -> Result<Arc<dyn SpillStore>, Failure>,
) -> Result<Composition, Failure> {
    let Loaded { values, settings } = loaded;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let found_keys = EncryptionKeys::find(values, settings)?;
    let client_keys = config::client_keys(values)?;
    let webhooks = config::webhooks(values, settings)?;
    let net = NetClient::new(net_config(settings)?, Arc::clone(&clock)).map_err(configuration)?;
    Guards::refuse_a_lost_database(settings)?;
    let database = open_database(settings).await?;
    let keys = checked_keys(found_keys, settings, &database, entropy.as_ref()).await?;
    refuse_a_missing_client_key(client_keys.as_ref(), &database).await?;
    let cluster_id = cluster_id(settings, &database, entropy.as_ref()).await?;
    // Makes a file, so not before everything that may refuse the configuration.
    let spill = spill(settings)?;
    let redis = redis(loaded, &cluster_id, &clock)?;
    let keys: Arc<dyn KeyProvider> = Arc::new(keys);
    let seal = SnapshotSeal::new(&cluster_id, Arc::clone(&keys), Arc::clone(&entropy));
    let shared = shared_tier(redis.as_ref(), &database, &cluster_id, seal);
    let stores = database.stores();
    let hub_config = HubConfig {
        origin: settings.base_url.origin().ascii_serialization(),
        instance: instance(),
        version: env!("CARGO_PKG_VERSION"),
        webhooks,
        counts: settings.admin_listen.is_some(),
    };
    let hub_ports = HubPorts {
        stores: stores.clone(),
        http: Arc::clone(&net) as _,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        changes: Arc::clone(&shared.changes),
    };
    let (events, teller) = EventHub::new(hub_config, hub_ports);
    let atproto_config = AtprotoConfig {
        base_url: settings.base_url.clone(),
        app_name: settings.app_name.clone(),
        logo_uri: settings.logo_uri.clone(),
        policy_uri: settings.policy_uri.clone(),
        tos_uri: settings.tos_uri.clone(),
        scope: settings.scope.clone(),
        client_keys,
        plc_url: settings.plc_url.clone(),
        handle_resolver_url: settings.handle_resolver_url.clone(),
        resolver: match settings.resolver.as_str() {
            "slingshot" => ResolverMode::Slingshot,
            "hybrid" => ResolverMode::Hybrid,
            _ => ResolverMode::Native,
        },
        slingshot_url: settings.slingshot_url.clone(),
        transport: TransportPolicy::with_plain_http(settings.egress_allow.clone()),
        allowed_pds: settings.allowed_pds.clone(),
        allow_foreign_endpoints: settings.allow_foreign_endpoints,
        login_cap: LOGIN_CAP,
        proxy: ProxyPolicyConfig {
            denied: settings.proxy_deny.clone(),
            allowed: settings.proxy_allow.clone(),
            services: match settings.proxy_services.as_slice() {
                [] => AllowedServices::Default,
                [any] if any == "*" => AllowedServices::Any,
                some => AllowedServices::Only(some.to_vec()),
            },
        },
        vault: VaultConfig { instance: instance(), ..VaultConfig::new(&cluster_id) },
    };
    let ports = AtprotoPorts {
        http: Arc::clone(&net) as _,
        dns: Arc::clone(&net) as _,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        stores: stores.clone(),
        keys,
        surroundings: VaultSurroundings {
            spill,
            observer: Arc::new(events.clone()),
            changes: Arc::clone(&shared.changes),
        },
    };
    let atproto = Atproto::new(atproto_config, ports).map_err(configuration)?;
    let guards = Guards::new(settings, database.clone(), cluster_id);
    Ok(Composition { clock, entropy, database, stores, atproto, net, redis, shared, guards, events, teller })
}

/// Opens the database alone.
pub(crate) async fn open_database(settings: &Settings) -> Result<SqlStores, Failure> {
    SqlStores::open(&settings.database_url).await.map_err(|error| {
        Failure::internal(error).with_hint("`bowerbird doctor` checks the database and says what to do")
    })
}

/// Names this process in leases, for people who look at a row.
pub(crate) fn instance() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}/{}", std::process::id())
}

/// The shared tier, where one is configured. Nothing is sent yet.
fn redis(loaded: &Loaded, cluster_id: &str, clock: &Arc<dyn Clock>) -> Result<Option<RedisTier>, Failure> {
    let Some(url) = loaded.values.get("BOWERBIRD_REDIS_URL") else { return Ok(None) };
    let roots = match &loaded.settings.extra_roots {
        Some(path) => Some(std::fs::read(path).map_err(configuration)?),
        None => None,
    };
    RedisTier::open(url, cluster_id, roots.as_deref(), Arc::clone(clock)).map(Some).map_err(configuration)
}

fn shared_tier(redis: Option<&RedisTier>, database: &SqlStores, cluster_id: &str, seal: SnapshotSeal) -> SharedTier {
    let alone = SharedTier { device_log: database.device_log(), ..SharedTier::default() };
    if let Some(redis) = redis {
        let snapshots = Some(SnapshotTier { cache: Arc::new(redis.clone()), seal });
        return SharedTier { changes: redis.feed(), buckets: Some(Arc::new(redis.clone())), snapshots, ..alone };
    }
    match database.change_feed(cluster_id) {
        Some(feed) => SharedTier { changes: Arc::new(feed), ..alone },
        None => alone,
    }
}

/// The encryption keys, if they are those of the database; made at a first start. With a wrong or missing one nobody could
/// be served, and what would be stored now could not be read when the right one is back.
pub(crate) async fn checked_keys(
    found: Option<EncryptionKeys>,
    settings: &Settings,
    database: &SqlStores,
    entropy: &dyn Entropy,
) -> Result<EncryptionKeys, Failure> {
    let wrapped = database.stores().data_keys.count_by_kek().await.map_err(Failure::internal)?;
    let keys = match found {
        Some(keys) => keys,
        None if wrapped.is_empty() => return Ok(EncryptionKeys::make(settings, entropy)?),
        // Nothing is made: a new key beside old data would only hide that the old one is lost.
        None => return Err(missing_key(&wrapped[0], settings)),
    };
    let listed = keys.list();
    match wrapped.iter().find(|(id, _)| !listed.iter().any(|key| key.id == *id)) {
        Some(missing) => Err(missing_key(missing, settings)),
        None => Ok(keys),
    }
}

/// Refuses a configuration that lacks a client key which live credentials are bound to: they could be neither refreshed nor
/// revoked, and would end one after the other without anybody having decided it.
async fn refuse_a_missing_client_key(configured: Option<&PrivateJwkSet>, database: &SqlStores) -> Result<(), Failure> {
    let bound = database.stores().credentials.count_by_client_key().await.map_err(Failure::internal)?;
    let is_there = |kid: &str| configured.is_some_and(|keys| keys.key(kid).is_some());
    let bound = bound.into_iter().filter_map(|(kid, count)| Some((kid?, count)));
    let missing: Vec<(String, u64)> = bound.filter(|(kid, _)| !is_there(kid)).collect();
    let [(first, _), ..] = missing.as_slice() else { return Ok(()) };
    let named: Vec<String> = missing.iter().map(|(kid, count)| format!("{kid} ({count} sign-ins)")).collect();
    let problem = format!("BOWERBIRD_CLIENT_KEYS lacks keys that live sign-ins are bound to: {}", named.join(", "));
    let hint = format!(
        "put the key back behind the newer ones, from a backup of the key file; to give its sign-ins up for good: \
         `bowerbird keys forget-client {first} --confirm`; nothing was changed"
    );
    Err(Failure { code: CONFIG, ..Failure::user(problem) }.with_hint(hint))
}

fn missing_key((id, count): &(String, u64), settings: &Settings) -> Failure {
    let problem = format!("the database needs the encryption key {id} for {count} accounts, and it is not configured");
    let hint = format!(
        "put that key back, behind newer ones, into BOWERBIRD_ENCRYPTION_KEY, the file named by \
         BOWERBIRD_ENCRYPTION_KEY_FILE, the keyring entry named by BOWERBIRD_ENCRYPTION_KEYRING, or {}; if it is lost for good: `bowerbird keys abandon {id}`; nothing was changed",
        settings.data_dir.join("encryption-key").display()
    );
    Failure { code: CONFIG, ..Failure::user(problem) }.with_hint(hint)
}

/// The id of the installation that the database belongs to. A database that was copied elsewhere must not be used there:
/// two servers would spend the same refresh tokens.
pub(crate) async fn cluster_id(
    settings: &Settings,
    database: &SqlStores,
    entropy: &dyn Entropy,
) -> Result<String, Failure> {
    let found = database.cluster_id(entropy).await.map_err(Failure::internal)?;
    match &settings.cluster_id {
        Some(expected) if *expected != found => {
            let problem = format!("BOWERBIRD_CLUSTER_ID is {expected}, but the database belongs to {found}");
            Err(Failure { code: CONFIG, ..Failure::user(problem) }
                .with_hint("this looks like a copy of another installation's database; start with an empty one"))
        }
        _ => Ok(found),
    }
}

/// Reads what the network client needs.
pub(crate) fn net_config(settings: &Settings) -> Result<NetConfig, Failure> {
    let egress_allow = settings.egress_allow.iter().map(|entry| entry.parse()).collect::<Result<_, _>>();
    let extra_roots = match &settings.extra_roots {
        Some(path) => read_roots(path)?,
        None => Vec::new(),
    };
    Ok(NetConfig {
        egress_allow: egress_allow.map_err(configuration)?,
        dns_servers: settings.dns_servers.clone(),
        extra_roots,
        ..NetConfig::default()
    })
}

/// Reads the certificates of a PEM file.
fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let refused =
        |error: &dyn std::fmt::Display| configuration(format!("BOWERBIRD_EXTRA_ROOTS, {}: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| refused(&error))?;
    if certificates.is_empty() { Err(refused(&"it holds no certificate")) } else { Ok(certificates) }
}

pub(crate) fn configuration(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure { code: CONFIG, ..Failure::user(error) }.with_hint("`bowerbird config show` lists every variable")
}
