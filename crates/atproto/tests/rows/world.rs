//! A whole room on a network of fault servers, with the real HTTP and DNS client.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_atproto::{
    Atproto, AtprotoConfig, AtprotoPorts, FinishLoginError, FinishedLogin, ProxyCall, ProxyError, StartLogin,
    StartLoginError, StartedLogin,
};
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{Clock, Stores, StreamBody, full_body};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{BrowserBinding, LoginEnding, LoginIdentifier, LoginPurpose, Nsid, Timestamp};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock, TestSwitches};
use bowerbird_oauth::TransportPolicy;
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork};
use bowerbird_testkit::http_client::TestClient;
use bowerbird_vault::VaultSurroundings;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use url::Url;

/// The browser of most tests.
pub(crate) const BROWSER: Option<BrowserBinding> = Some(BrowserBinding([1; 32]));
/// Another one.
pub(crate) const OTHER_BROWSER: Option<BrowserBinding> = Some(BrowserBinding([2; 32]));

/// A clock that can be set off from the true time, and can let time pass.
pub(crate) struct OffsetClock {
    true_clock: SystemClock,
    seconds: Mutex<i64>,
    passed: Mutex<Duration>,
}

impl OffsetClock {
    pub(crate) fn set_off(&self, seconds: i64) {
        *self.seconds.lock() = seconds;
    }

    /// Lets what is remembered grow older. The time of day stays what it is for the servers, too.
    pub(crate) fn let_pass(&self, time: Duration) {
        *self.passed.lock() += time;
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        self.true_clock.now().plus_seconds(*self.seconds.lock())
    }

    fn monotonic(&self) -> Duration {
        self.true_clock.monotonic() + *self.passed.lock()
    }
}

pub(crate) struct World {
    pub(crate) network: FaultNetwork,
    pub(crate) atproto: Atproto,
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<OffsetClock>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::on(FaultNetwork::start().await, |_| ())
    }

    /// Wires a room to a network; every server that the network will ever have must be there.
    pub(crate) fn on(network: FaultNetwork, adjust: impl FnOnce(&mut AtprotoConfig)) -> Self {
        Self::with_stores(network, MemoryStores::new(), adjust)
    }

    fn with_stores(network: FaultNetwork, stores: Stores, adjust: impl FnOnce(&mut AtprotoConfig)) -> Self {
        let clock = Arc::new(OffsetClock {
            true_clock: SystemClock::new(),
            seconds: Mutex::default(),
            passed: Mutex::default(),
        });
        let atproto = Self::instance(&network, &stores, &clock, adjust);
        Self { network, atproto, stores, clock }
    }

    /// Another instance on the same network, stores and clock, such as one that was restarted.
    pub(crate) fn second_instance(&self) -> Atproto {
        Self::instance(&self.network, &self.stores, &self.clock, |_| ())
    }

    /// Another installation on the same network: nothing is shared but the servers of the accounts.
    pub(crate) fn other_house(&self, adjust: impl FnOnce(&mut AtprotoConfig)) -> (Atproto, Stores) {
        let stores = MemoryStores::new();
        (Self::instance(&self.network, &stores, &self.clock, adjust), stores)
    }

    fn instance(
        network: &FaultNetwork,
        stores: &Stores,
        clock: &Arc<OffsetClock>,
        adjust: impl FnOnce(&mut AtprotoConfig),
    ) -> Atproto {
        let hosts = network.egress_allow();
        let net = NetConfig {
            egress_allow: hosts.split(',').map(|host| host.parse().unwrap()).collect(),
            dns_servers: vec![network.dns().address()],
            trust_system_roots: false,
            ..NetConfig::default()
        };
        let switches = TestSwitches { deadline_divisor: 10, ..TestSwitches::default() };
        let net = NetClient::for_tests(net, clock.clone(), switches).unwrap();
        let mut config = AtprotoConfig::new(Url::parse("http://127.0.0.1:8080").unwrap()).unwrap();
        config.plc_url = Url::parse(network.plc().server().origin()).unwrap();
        config.handle_resolver_url = Some(Url::parse(network.pds().origin()).unwrap());
        config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
        adjust(&mut config);
        let ports = AtprotoPorts {
            http: net.clone(),
            dns: net,
            clock: clock.clone(),
            entropy: Arc::new(OsEntropy),
            stores: stores.clone(),
            keys: Arc::new(FixedKeys::one()),
            surroundings: VaultSurroundings::default(),
        };
        Atproto::new(config, ports).unwrap()
    }

    pub(crate) fn start_login(
        &self,
        identifier: &str,
    ) -> impl Future<Output = Result<StartedLogin, StartLoginError>> + '_ {
        self.atproto.logins.start(login(identifier))
    }

    /// Follows the redirect to the authorization server; gives the callback's query.
    pub(crate) async fn approve(&self, started: &StartedLogin) -> String {
        let answer = TestClient::new().get(started.authorize_url.as_str()).await;
        let location = answer.header("location").unwrap_or_else(|| panic!("no redirect: {}", answer.text()));
        let back = Url::parse(location).unwrap();
        assert_eq!(back.path(), "/oauth/callback");
        back.query().unwrap().to_owned()
    }

    pub(crate) async fn finish(&self, query: &str) -> Result<FinishedLogin, FinishLoginError> {
        self.atproto.logins.finish(query, BROWSER).await
    }

    /// A login from its beginning to its end.
    pub(crate) async fn try_sign_in(&self, identifier: &str) -> Result<FinishedLogin, FinishLoginError> {
        let started = self.start_login(identifier).await.unwrap();
        let query = self.approve(&started).await;
        self.finish(&query).await
    }

    pub(crate) async fn sign_in(&self, identifier: &str) -> FinishedLogin {
        self.try_sign_in(identifier).await.unwrap()
    }

    /// A refused start: its code and status.
    pub(crate) async fn refused_start(&self, identifier: &str) -> (&'static str, u16) {
        let error = self.start_login(identifier).await.unwrap_err();
        (error.code(), error.status().as_u16())
    }

    /// A refused end: its code and status.
    pub(crate) async fn refused_end(&self, identifier: &str) -> (String, u16) {
        let error = self.try_sign_in(identifier).await.unwrap_err();
        (error.code().to_owned(), error.status().as_u16())
    }

    pub(crate) async fn call(
        &self,
        login: &FinishedLogin,
        nsid: &str,
        request: Request<StreamBody>,
    ) -> Result<Response<StreamBody>, ProxyError> {
        let nsid = Nsid::parse(nsid).unwrap();
        self.atproto.proxy.call(ProxyCall { account: std::sync::Arc::new(login.account.clone()), nsid, request }).await
    }

    pub(crate) async fn get(&self, login: &FinishedLogin, nsid: &str) -> Result<Response<Bytes>, ProxyError> {
        let request = Request::get(format!("/xrpc/{nsid}")).body(full_body("")).unwrap();
        Ok(whole(self.call(login, nsid, request).await?).await)
    }

    /// How many codes or refresh tokens were shown to token endpoints.
    pub(crate) fn shown(&self, kind: CanaryKind) -> usize {
        self.network.ledger().presented(kind).len()
    }

    /// How many accounts are stored.
    pub(crate) async fn accounts(&self) -> usize {
        self.stores.accounts.list(None, 100).await.unwrap().len()
    }

    /// Waits until something becomes true that a background task does.
    pub(crate) async fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..200 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never came true: {what}");
    }
}

pub(crate) fn login(identifier: &str) -> StartLogin {
    StartLogin {
        identifier: LoginIdentifier::parse(identifier).unwrap(),
        prompt: None,
        purpose: LoginPurpose::SignIn,
        return_to: "/".into(),
        ending: LoginEnding::Browser,
        browser: BROWSER,
        state: None,
    }
}

pub(crate) async fn whole(answer: Response<StreamBody>) -> Response<Bytes> {
    let (head, body) = answer.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// The query with one parameter set anew, or left out.
pub(crate) fn with_param(query: &str, name: &str, value: Option<&str>) -> String {
    let kept: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().filter(|(key, _)| key != name).collect();
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(kept);
    if let Some(value) = value {
        out.append_pair(name, value);
    }
    out.finish()
}
