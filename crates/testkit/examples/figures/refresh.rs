//! How many refreshes a second go through: the whole way over HTTP to issuers that answer at once, with DPoP, spill and a
//! SQLite database of full durability, with the limits that a server has by default.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowerbird_atproto::{Atproto, AtprotoConfig, AtprotoPorts, StartLogin};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{BrowserBinding, ConnectionId, LoginEnding, LoginIdentifier, LoginPurpose};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::TransportPolicy;
use bowerbird_storage_file::{FileSpill, SPILL_BYTES};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::http_client::TestClient;
use bowerbird_vault::VaultSurroundings;
use futures_util::future::join_all;
use url::Url;

use crate::house::database;
use crate::{Figure, fsync, quantile};

/// Accounts on each server.
const ACCOUNTS: usize = 250;
/// With four refreshes at once at each, so that they do not hold back a server that may have eight.
const SERVERS: usize = 4;
const ROUNDS: usize = 5;
/// Of an access token, in seconds.
const LIFE: i64 = 2;
const BROWSER: BrowserBinding = BrowserBinding([1; 32]);

/// In refreshes a second.
pub(crate) async fn throughput(folder: &Path) -> Figure {
    let disk = fsync::rate(folder);
    let network = FaultNetwork::start().await;
    network.authorization_server().set_access_seconds(LIFE);
    let mut servers = vec![network.pds()];
    for _ in 1..SERVERS {
        let (server, issuer) = network.add_self_hosted();
        issuer.set_access_seconds(LIFE);
        servers.push(server);
    }
    let handles: Vec<String> = (0..ACCOUNTS * SERVERS).map(|number| format!("n{number}.test")).collect();
    for (number, handle) in handles.iter().enumerate() {
        network.add_account_at(&servers[number % SERVERS], handle);
    }
    let (clock, database) = (Arc::new(SystemClock::new()), database(folder).await);
    let atproto = wire(&network, &clock, &database, folder);
    let mut connections = Vec::new();
    for handle in &handles {
        connections.push(sign_in(&atproto, handle).await);
    }
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_secs(LIFE.unsigned_abs())).await;
        let begun = Instant::now();
        for checkout in join_all(connections.iter().map(|connection| atproto.vault.checkout(*connection))).await {
            checkout.expect("renewed");
        }
        rates.push(connections.len() as f64 / begun.elapsed().as_secs_f64());
    }
    network.ledger().assert_no_replays();
    database.close().await;
    let value = quantile(&mut rates, 0.5);
    let detail = format!(
        "{ROUNDS} rounds of {} accounts at {SERVERS} servers in the same process; the disk does {disk:.0} fsyncs a second",
        connections.len()
    );
    Figure { value, detail }
}

fn wire(network: &FaultNetwork, clock: &Arc<SystemClock>, database: &SqlStores, folder: &Path) -> Atproto {
    let hosts = network.egress_allow();
    let net = NetConfig {
        egress_allow: hosts.split(',').map(|host| host.parse().expect("a host")).collect(),
        dns_servers: vec![network.dns().address()],
        trust_system_roots: false,
        ..NetConfig::default()
    };
    let net = NetClient::new(net, Arc::clone(clock) as _).expect("a client");
    let base_url = Url::parse("http://127.0.0.1:8080").expect("a URL");
    let mut config = AtprotoConfig::new(base_url).expect("a configuration");
    config.plc_url = Url::parse(network.plc().server().origin()).expect("a URL");
    config.handle_resolver_url = Url::parse(network.pds().origin()).ok();
    config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
    let spill = FileSpill::open(folder, SPILL_BYTES).expect("a spill");
    let ports = AtprotoPorts {
        http: Arc::clone(&net) as _,
        dns: net,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(OsEntropy),
        stores: database.stores(),
        keys: Arc::new(FixedKeys::one()),
        surroundings: VaultSurroundings { spill: Arc::new(spill), ..VaultSurroundings::default() },
    };
    Atproto::new(config, ports).expect("a room")
}

async fn sign_in(atproto: &Atproto, handle: &str) -> ConnectionId {
    let login = StartLogin {
        identifier: LoginIdentifier::parse(handle).expect("a handle"),
        prompt: None,
        purpose: LoginPurpose::SignIn,
        return_to: "/".to_owned(),
        ending: LoginEnding::Browser,
        browser: Some(BROWSER),
        state: None,
    };
    let started = atproto.logins.start(login).await.expect("starts");
    let answer = TestClient::new().get(started.authorize_url.as_str()).await;
    let back = Url::parse(answer.header("location").expect("a redirect")).expect("a URL");
    let finished = atproto.logins.finish(back.query().expect("a query"), Some(BROWSER)).await.expect("signs in");
    finished.connection.id
}
