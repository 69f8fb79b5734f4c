//! An app on a network of fault servers, with the kit's own HTTP client and a tap on its line.

use std::sync::Arc;

use bowerbird_client::{
    Account, AccountManager, Call, Device, DeviceClock, HttpTransport, KitError, OnDevice, OnDeviceFault, Ports,
    Settings, Transport, TransportFault,
};
use bowerbird_testkit::fault::{FaultAccount, FaultNetwork, endpoint};
use bowerbird_testkit::http_client::TestClient;
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;

use crate::device::{Calm, Store};

pub(crate) const REDIRECT: &str = "http://127.0.0.1:5000/callback";
pub(crate) const SCOPE: &str = "atproto transition:generic";
pub(crate) const GET_SESSION: &str = "com.atproto.server.getSession";

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It never leaves.
    NotSent,
    /// It may have left, and did not.
    Cut,
    /// It arrives, and its answer is lost.
    AnswerLost,
}

/// The kit's HTTP client, with faults by path, answers for hosts that are not there, and notes of every address.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Inner>);

#[derive(Default)]
struct Inner {
    http: HttpTransport,
    faults: Mutex<Vec<(String, Line)>>,
    hosts: Mutex<Vec<(String, Response<Bytes>)>>,
    sent: Mutex<Vec<String>>,
}

impl Tap {
    /// The next request to this path goes so.
    pub(crate) fn upset(&self, path: &str, line: Line) {
        self.0.faults.lock().push((path.to_owned(), line));
    }

    /// Requests to addresses that begin so get this answer, from now on.
    pub(crate) fn answer(&self, address: &str, answer: Response<Bytes>) {
        self.0.hosts.lock().insert(0, (address.to_owned(), answer));
    }

    /// Every address so far, without its query.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.0.sent.lock().clone()
    }

    pub(crate) fn clear(&self) {
        self.0.sent.lock().clear();
    }
}

impl Transport for Tap {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        let (address, path) = (request.uri().to_string(), request.uri().path().to_owned());
        self.0.sent.lock().push(address.split('?').next().unwrap_or_default().to_owned());
        let line = {
            let mut faults = self.0.faults.lock();
            let place = faults.iter().position(|(to, _)| *to == path);
            place.map(|place| faults.remove(place).1)
        };
        match line {
            Some(Line::NotSent) => return Err(TransportFault::not_sent("not sent on purpose")),
            Some(Line::Cut) => return Err(TransportFault::broken("cut on purpose")),
            Some(Line::AnswerLost) | None => {}
        }
        let scripted = self.0.hosts.lock().iter().find(|(to, _)| address.starts_with(to)).map(|(_, it)| it.clone());
        let answer = match scripted {
            Some(answer) => Ok(answer),
            // Nobody out there is ever called by a test.
            None if request.uri().host() != Some("localhost") => Err(TransportFault::not_sent("no such host")),
            None => self.0.http.send(request),
        };
        if line == Some(Line::AnswerLost) { Err(TransportFault::broken("lost on purpose")) } else { answer }
    }
}

/// The app on one device, and the servers of its people.
pub(crate) struct World {
    pub(crate) network: Arc<FaultNetwork>,
    pub(crate) tap: Tap,
    pub(crate) store: Arc<Store>,
    pub(crate) calm: Arc<Calm>,
    pub(crate) manager: AccountManager,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(FaultNetwork::start().await)
    }

    /// Every server that the network will ever have must be there.
    pub(crate) fn on(network: FaultNetwork) -> Self {
        let calm = Calm::at(Device.now().as_seconds());
        Self::with(Arc::new(network), Tap::default(), Arc::default(), Arc::new(calm))
    }

    pub(crate) fn with(network: Arc<FaultNetwork>, tap: Tap, store: Arc<Store>, calm: Arc<Calm>) -> Self {
        let settings = Settings::without_server("com.app").unwrap().with_on_device(app(&network));
        let manager = AccountManager::open(settings, ports(&tap, &store, &calm)).unwrap();
        Self { network, tap, store, calm, manager }
    }

    /// The app is stopped and started again.
    pub(crate) fn restarted(self) -> Self {
        *self.store.writes_left.lock() = None;
        Self::with(self.network, self.tap, self.store, self.calm)
    }

    pub(crate) fn account(&self, handle: &str) -> FaultAccount {
        self.network.add_account(handle)
    }

    /// Begins, and lets the person decide as the authorization server is told to; the address that comes back.
    pub(crate) async fn callback(&self, who: &str) -> String {
        let sign_in = self.manager.begin_sign_in_on_device(who).unwrap();
        approve(&sign_in.auth_url).await
    }

    pub(crate) async fn try_sign_in(&self, who: &str) -> Result<Account, KitError> {
        let callback = self.callback(who).await;
        self.manager.complete_sign_in_on_device(&callback)
    }

    pub(crate) async fn sign_in(&self, who: &str) -> Account {
        self.try_sign_in(who).await.unwrap()
    }

    pub(crate) fn call(&self, account: &Account) -> Result<Response<Bytes>, KitError> {
        self.manager.session_for(account.id).unwrap().call(&Call::query(GET_SESSION, &[]))
    }

    /// The token endpoint's requests of a kind.
    pub(crate) fn token_requests(&self, grant_type: &str) -> usize {
        let log = self.network.authorization_server().server().log().at(endpoint::TOKEN);
        log.iter().filter(|request| request.form().get("grant_type").is_some_and(|kind| kind == grant_type)).count()
    }

    /// How many refresh tokens the authorization server was shown and looked at.
    pub(crate) fn shown(&self) -> usize {
        use bowerbird_testkit::fault::{CanaryKind, Verdict};
        let shown = self.network.ledger().presented(CanaryKind::RefreshToken);
        let at_token = |path: &str| path == endpoint::TOKEN;
        shown.iter().filter(|shown| shown.verdict != Verdict::NotConsumed && at_token(&shown.path)).count()
    }

    pub(crate) fn live_grants(&self, account: &FaultAccount) -> usize {
        self.network.authorization_server().live_grants(&account.did)
    }

    pub(crate) fn pauses(&self) -> Vec<u64> {
        std::mem::take(&mut *self.calm.pauses.lock())
    }

    /// What the store has of an account, by the ends of the names.
    pub(crate) fn kept(&self) -> Vec<String> {
        let names = self.store.memory.names();
        names.iter().map(|name| name.rsplit('.').next().unwrap().to_owned()).collect()
    }
}

pub(crate) fn ports(tap: &Tap, store: &Arc<Store>, calm: &Arc<Calm>) -> Ports {
    Ports {
        store: store.clone(),
        transport: Arc::new(tap.clone()),
        clock: calm.clone(),
        pause: calm.clone(),
        entropy: calm.clone(),
    }
}

pub(crate) fn app(network: &FaultNetwork) -> OnDevice {
    let (plc, pds) = (network.plc().server().origin().to_owned(), network.pds().origin().to_owned());
    let hosts = network.egress_allow();
    let hosts: Vec<&str> = hosts.split(',').collect();
    let app = OnDevice::for_development(REDIRECT, SCOPE).unwrap().with_local_servers(&hosts).unwrap();
    app.with_plc_directory(&plc).unwrap().with_handle_resolver(&pds).unwrap()
}

/// Opens the address as a browser does; where it is sent.
pub(crate) async fn approve(auth_url: &str) -> String {
    let answer = TestClient::new().get(auth_url).await;
    answer.header("location").unwrap_or_else(|| panic!("no redirect: {}", answer.text())).to_owned()
}

/// The code of a refusal.
pub(crate) fn code(refused: &KitError) -> &'static str {
    match refused {
        KitError::OnDevice(fault) => OnDeviceFault::code(fault),
        other => panic!("not the expected kind: {other:?}"),
    }
}

/// The callback with one parameter set anew, or left out.
pub(crate) fn with_param(callback: &str, name: &str, value: Option<&str>) -> String {
    let mut url = url::Url::parse(callback).unwrap();
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(value.map(|value| (name, value)));
    url.into()
}
