//! A house: the server, memory stores, and a fault network around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowerbird_atproto::{Atproto, AtprotoConfig, AtprotoPorts, ResolverMode};
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{Clock, Stores};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{Did, Secret};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::TransportPolicy;
use bowerbird_server::{AndroidApp, HandoffMode, MobileConfig, ServeLimits, ServerConfig, ServerParts, SharedTier};
use bowerbird_testkit::actors::{App, Visitor};
use bowerbird_testkit::fault::{AuthorizationServer, FaultAccount, FaultNetwork, Pds};
use bowerbird_testkit::http_client::{Answer, TestClient};
use bowerbird_vault::{SealRing, VaultSurroundings};
use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

/// The name of a house on https.
pub(crate) const PUBLIC: &str = "https://bower.example";
/// The newest and an older sealing secret.
pub(crate) const SECRETS: [&str; 2] =
    ["newest-secret-of-the-tests-0123456789", "older-secret-of-the-tests-00123456789"];

pub(crate) struct House {
    pub(crate) network: FaultNetwork,
    /// Another self-hosted server, which the house may call.
    pub(crate) evil: AuthorizationServer,
    /// Its PDS.
    pub(crate) evil_pds: Pds,
    pub(crate) base_url: String,
    pub(crate) address: SocketAddr,
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether `/ready` says yes.
    pub(crate) ready: Arc<AtomicBool>,
    client: TestClient,
}

/// How a house differs from the usual one.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) public: bool,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) expose_tokens: bool,
    /// App passwords are on in a test's house, though off by default.
    pub(crate) no_app_passwords: bool,
    /// What apps are given.
    pub(crate) handoff: HandoffMode,
    /// Where apps wait; `app://auth-callback` and `limit://auth` when empty.
    pub(crate) app_addresses: Vec<&'static str>,
    /// A certificate of the Android app, and the id of the Apple app, that the domain stands for.
    pub(crate) domain_apps: Option<(&'static str, &'static str)>,
    /// Servers whose accounts may come in; all when empty.
    pub(crate) allowed_pds: Vec<String>,
    pub(crate) limits: ServeLimits,
}

impl House {
    /// On loopback, with a public client.
    pub(crate) async fn open() -> Self {
        Self::build(Plan::default()).await
    }

    /// Reached as <https://bower.example>, behind a proxy that ends TLS.
    pub(crate) async fn open_public() -> Self {
        Self::build(Plan { public: true, ..Plan::default() }).await
    }

    pub(crate) async fn build(plan: Plan) -> Self {
        let network = FaultNetwork::start().await;
        let (evil_pds, evil) = network.add_self_hosted();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base_url = if plan.public { PUBLIC.to_owned() } else { format!("http://{address}") };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy = Arc::new(OsEntropy);
        let egress = network.egress_allow();
        let net = NetConfig {
            egress_allow: egress.split(',').map(|pair| pair.parse().unwrap()).collect(),
            dns_servers: vec![network.dns().address()],
            ..NetConfig::default()
        };
        let net = NetClient::new(net, Arc::clone(&clock)).unwrap();
        let stores = MemoryStores::new();
        let config = AtprotoConfig {
            app_name: "Bower".to_owned(),
            plc_url: Url::parse(network.plc().server().origin()).unwrap(),
            handle_resolver_url: Some(Url::parse(network.pds().origin()).unwrap()),
            resolver: ResolverMode::Native,
            allowed_pds: plan.allowed_pds,
            transport: TransportPolicy::with_plain_http(egress.split(',').map(str::to_owned)),
            ..AtprotoConfig::new(Url::parse(&base_url).unwrap()).unwrap()
        };
        let ports = AtprotoPorts {
            http: net.clone(),
            dns: net,
            clock: Arc::clone(&clock),
            entropy: entropy.clone(),
            stores: stores.clone(),
            keys: Arc::new(FixedKeys::one()),
            surroundings: VaultSurroundings::default(),
        };
        let atproto = Atproto::new(config, ports).unwrap();
        if plan.public {
            let metadata: Value = serde_json::from_slice(&atproto.client.metadata_json()).unwrap();
            network.register_client(atproto.client.client_id(), metadata);
        }
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = Arc::clone(&ready);
        let app_addresses = match plan.app_addresses.as_slice() {
            [] => &["app://auth-callback", "limit://auth"],
            given => given,
        };
        let app_addresses = app_addresses.iter().map(|address| address.parse().unwrap()).collect();
        let parts = ServerParts {
            config: ServerConfig {
                base_url: Url::parse(&base_url).unwrap(),
                app_name: "Bower".to_owned(),
                session_ttl: 604_800,
                cors_origins: plan.cors_origins,
                trusted_proxies: plan.trusted_proxies,
                expose_tokens: plan.expose_tokens,
                app_passwords: !plan.no_app_passwords,
                mobile: MobileConfig {
                    addresses: app_addresses,
                    handoff: plan.handoff,
                    android_apps: plan
                        .domain_apps
                        .iter()
                        .map(|(fingerprint, _)| AndroidApp {
                            package: "org.example.app".to_owned(),
                            fingerprints: vec![(*fingerprint).to_owned()],
                        })
                        .collect(),
                    apple_apps: plan.domain_apps.iter().map(|(_, app)| (*app).to_owned()).collect(),
                },
                policy_uri: None,
                tos_uri: None,
                version: "0.0.0-test",
            },
            atproto,
            stores: stores.clone(),
            seals: ring(&SECRETS),
            clock: Arc::clone(&clock),
            entropy,
            ready: Arc::new(move || {
                let ready = is_ready.load(Ordering::Relaxed);
                async move { if ready { Ok(()) } else { Err("the canary database is gone".to_owned()) } }.boxed()
            }),
            shared: SharedTier::default(),
            events: bowerbird_events::EventStreams::default(),
            metrics: None,
        };
        let router = bowerbird_server::router(parts);
        tokio::spawn(async move {
            let crew = bowerbird_server::Crew::start(1).unwrap();
            bowerbird_server::serve(&crew, listener, router, plan.limits, std::future::pending()).await
        });
        let client = TestClient::new().with_host("bower.example", address);
        Self { network, evil, evil_pds, base_url, address, stores, clock, ready, client }
    }

    /// A browser without cookies.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.client.clone(), &self.base_url)
    }

    /// A browser in which the account has just signed in.
    pub(crate) async fn visitor_as(&self, account: &FaultAccount) -> Visitor {
        let mut visitor = self.visitor();
        let answer = visitor.login(&account.handle).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        visitor
    }

    /// An app with the seal of a visitor.
    pub(crate) fn app_of(&self, visitor: &Visitor) -> App {
        App::new(self.client.clone(), &self.base_url, &visitor.seal().unwrap())
    }

    /// The client, for requests by hand.
    pub(crate) fn client(&self) -> &TestClient {
        &self.client
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// What was sent to others since the logs were cleared; without the profile that is read in the background after every
    /// login, which comes when it comes.
    pub(crate) fn sent(&self) -> Vec<String> {
        let requests = self.network.requests();
        let of_note = requests.iter().filter(|request| request.path() != "/xrpc/com.atproto.repo.getRecord");
        of_note.map(bowerbird_testkit::fault::RecordedRequest::transcript).collect()
    }

    /// Waits until the account has this many live grants at its server: they are given back in the background.
    pub(crate) async fn wait_for_grants(&self, account: &FaultAccount, expected: usize) {
        let server = self.network.authorization_server();
        for _ in 0..200 {
            if server.live_grants(&account.did) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} grants are live, not {expected}", server.live_grants(&account.did));
    }

    /// The id of the active account of a visitor's device.
    pub(crate) async fn id_of_active(&self, visitor: &Visitor) -> String {
        let did = self.app_of(visitor).get("/api/auth/session").await.expect_status(200).json()["did"].clone();
        let did = Did::parse(did.as_str().unwrap()).unwrap();
        self.stores.accounts.find_by_did(&did).await.unwrap().unwrap().id.to_string()
    }

    /// The id that an account has here.
    pub(crate) async fn id_of(&self, account: &FaultAccount) -> String {
        let did = Did::parse(&account.did).unwrap();
        self.stores.accounts.find_by_did(&did).await.unwrap().unwrap().id.to_string()
    }
}

pub(crate) fn ring(secrets: &[&str]) -> SealRing {
    SealRing::new(secrets.iter().map(|secret| Secret::new(*secret)).collect()).unwrap()
}

/// The value of a hidden field of a page.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}

/// A check of the status where nothing else of the answer is looked at.
pub(crate) trait Must {
    fn must_be(self, status: u16);
}

impl Must for Answer {
    #[track_caller]
    fn must_be(self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }
}

/// The handles that are signed in on a visitor's device.
pub(crate) async fn signed_in(visitor: &mut Visitor) -> Vec<String> {
    let body = visitor.get("/api/accounts").await.expect_status(200).json();
    body["accounts"].as_array().unwrap().iter().map(|account| account["handle"].as_str().unwrap().to_owned()).collect()
}
