//! A whole network of fault servers.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::accounts::{Accounts, FaultAccount, document_of, new_plc_did};
use super::authorization_server::{AuthorizationServer, IssuerState, Shared};
use super::canary::CanaryListener;
use super::client_registry::ClientRegistry;
use super::dns::{DnsAnswer, FaultDns};
use super::dpop::DpopGate;
use super::grants::Grants;
use super::handle_server::{HandleSite, WebDocuments};
use super::host::HostSite;
use super::http_server::FaultServer;
use super::ledger::{Canary, Ledger};
use super::network_clock::NetworkClock;
use super::pds::{Pds, PdsState};
use super::plc::Plc;
use super::request_log::RecordedRequest;

/// PLC directory, PDSes, authorization servers, the handles' web server, DNS and a canary listener, all on 127.0.0.1 on
/// free ports and on threads of their own. Ends when it is dropped.
#[derive(Debug)]
pub struct FaultNetwork {
    shared: Shared,
    plc: Plc,
    dns: FaultDns,
    handles: FaultServer,
    documents: WebDocuments,
    canary: CanaryListener,
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    pdses: Vec<Pds>,
    issuers: Vec<AuthorizationServer>,
}

impl FaultNetwork {
    /// One self-hosted PDS: resource server and authorization server are the same origin, as on the real PDS.
    pub async fn start() -> Self {
        let network = Self::empty();
        network.add_self_hosted();
        network
    }

    /// One PDS whose authorization server is another origin, as behind an entryway.
    pub async fn start_with_entryway() -> Self {
        let network = Self::empty();
        let issuer = network.add_authorization_server();
        issuer.set_stateless(true);
        network.add_pds(&issuer);
        network
    }

    fn empty() -> Self {
        let (ledger, clock, accounts) = (Ledger::default(), NetworkClock::default(), Accounts::default());
        let shared = Shared {
            grants: Grants::new(&ledger, &clock),
            clients: ClientRegistry::new(&clock),
            ledger: ledger.clone(),
            clock: clock.clone(),
            accounts: accounts.clone(),
        };
        let handles = FaultServer::start(&ledger, &clock);
        let documents = WebDocuments::default();
        handles.install(Arc::new(HandleSite { accounts: accounts.clone(), documents: documents.clone() }));
        Self {
            plc: Plc::start(FaultServer::start(&ledger, &clock), &accounts),
            dns: FaultDns::start(),
            canary: CanaryListener::start(),
            hosts: Mutex::default(),
            shared,
            handles,
            documents,
        }
    }

    /// Adds a PDS with its own authorization server on the same origin.
    pub fn add_self_hosted(&self) -> (Pds, AuthorizationServer) {
        let server = self.new_server();
        let gate = self.new_gate(&server);
        let issuer = IssuerState::new(server.origin(), &self.shared, &gate);
        issuer.resources.lock().push(server.origin().to_owned());
        let pds = PdsState::new(server.origin(), &[server.origin()], &self.shared, &gate);
        server.install(Arc::new(HostSite { issuer: Some(issuer.clone()), pds: Some(pds.clone()) }));
        let issuer = AuthorizationServer { server: server.clone(), state: issuer };
        let pds = Pds { server, state: pds };
        let mut hosts = self.hosts.lock();
        hosts.issuers.push(issuer.clone());
        hosts.pdses.push(pds.clone());
        (pds, issuer)
    }

    /// Adds an authorization server on an origin of its own.
    pub fn add_authorization_server(&self) -> AuthorizationServer {
        let server = self.new_server();
        let state = IssuerState::new(server.origin(), &self.shared, &self.new_gate(&server));
        server.install(Arc::new(HostSite { issuer: Some(state.clone()), pds: None }));
        let issuer = AuthorizationServer { server, state };
        self.hosts.lock().issuers.push(issuer.clone());
        issuer
    }

    /// Adds a PDS that trusts this authorization server, which lists it as protected resource.
    pub fn add_pds(&self, issuer: &AuthorizationServer) -> Pds {
        let server = self.new_server();
        let state = PdsState::new(server.origin(), &[issuer.issuer()], &self.shared, &self.new_gate(&server));
        server.install(Arc::new(HostSite { issuer: None, pds: Some(state.clone()) }));
        issuer.protect(server.origin());
        let pds = Pds { server, state };
        self.hosts.lock().pdses.push(pds.clone());
        pds
    }

    fn new_server(&self) -> FaultServer {
        FaultServer::start(&self.shared.ledger, &self.shared.clock)
    }

    fn new_gate(&self, server: &FaultServer) -> Arc<DpopGate> {
        Arc::new(DpopGate::new(server.origin(), &self.shared.clock))
    }

    /// The first PDS.
    pub fn pds(&self) -> Pds {
        self.hosts.lock().pdses[0].clone()
    }

    /// The first authorization server.
    pub fn authorization_server(&self) -> AuthorizationServer {
        self.hosts.lock().issuers[0].clone()
    }

    /// Adds an account to the first PDS: a did:plc, its document, and the handle over XRPC, well-known and DNS TXT.
    pub fn add_account(&self, handle: &str) -> FaultAccount {
        self.add_account_at(&self.pds(), handle)
    }

    /// Adds an account to a PDS.
    pub fn add_account_at(&self, pds: &Pds, handle: &str) -> FaultAccount {
        let account = self.shared.accounts.add(&new_plc_did(), handle, pds.origin());
        self.announce(&account);
        account
    }

    /// Adds an account with a did:web on the handles' server (one for each network: the DID names host and port).
    pub fn add_web_account(&self, handle: &str) -> FaultAccount {
        let host = self.handles.host_and_port();
        let did = format!("did:web:{}", host.replace(':', "%3A"));
        let account = self.shared.accounts.add(&did, handle, self.pds().origin());
        self.documents.lock().insert(host, document_of(&account));
        self.announce(&account);
        account
    }

    fn announce(&self, account: &FaultAccount) {
        let record = DnsAnswer::Txt(vec![format!("did={}", account.did)]);
        self.dns.script(&format!("_atproto.{}", account.handle), "TXT", vec![record]);
    }

    /// Moves an account to another PDS: the DID document says so from now on.
    pub fn move_account(&self, did: &str, to: &Pds) {
        self.shared.accounts.change(did, |account| to.origin().clone_into(&mut account.pds));
    }

    /// Gives an account another handle; the old one is nobody's.
    pub fn rename_account(&self, did: &str, handle: &str) {
        self.shared.accounts.change(did, |account| handle.clone_into(&mut account.handle));
        let account = self.shared.accounts.by_did(did).unwrap_or_else(|| panic!("{did} is no account of this network"));
        self.announce(&account);
    }

    /// Lets a handle's own side (XRPC, well-known, TXT) name another DID, which does not claim it back.
    pub fn point_handle_to(&self, handle: &str, did: &str) {
        self.shared.accounts.point_handle_to(handle, Some(did.to_owned()));
        self.dns.script(&format!("_atproto.{handle}"), "TXT", vec![DnsAnswer::Txt(vec![format!("did={did}")])]);
    }

    /// Registers a client's metadata, `jwks` inside, so that authorization servers do not fetch it.
    pub fn register_client(&self, client_id: &str, metadata: Value) {
        self.shared.clients.register(client_id, metadata);
    }

    /// Lets authorization servers fetch what is under one origin (`https://bff.home.arpa`) from another one.
    pub fn map_host(&self, from: &str, to: &str) {
        self.shared.clients.map_host(from, to);
    }

    /// Forgets a client's metadata, which are fetched once otherwise.
    pub fn forget_client(&self, client_id: &str) {
        self.shared.clients.forget(client_id);
    }

    /// Expires every access token minted so far; refresh tokens stay good.
    pub fn expire_all_access_tokens(&self) {
        self.shared.grants.expire_all_access_tokens();
    }

    /// The PLC directory.
    pub fn plc(&self) -> &Plc {
        &self.plc
    }

    /// The DNS server.
    pub fn dns(&self) -> &FaultDns {
        &self.dns
    }

    /// The handles' web server.
    pub fn handle_server(&self) -> &FaultServer {
        &self.handles
    }

    /// The listener that nobody may call.
    pub fn canary(&self) -> &CanaryListener {
        &self.canary
    }

    /// The ledger of all secrets.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Every secret minted or received so far, for [`crate::sweep`].
    pub fn canaries(&self) -> Vec<Canary> {
        self.shared.ledger.canaries()
    }

    /// The clock that all servers read.
    pub fn clock(&self) -> &NetworkClock {
        &self.shared.clock
    }

    /// Every HTTP server of the network, each origin once.
    pub fn servers(&self) -> Vec<FaultServer> {
        let hosts = self.hosts.lock();
        let of_hosts =
            hosts.pdses.iter().map(|pds| &pds.server).chain(hosts.issuers.iter().map(|issuer| &issuer.server));
        let mut seen = HashSet::new();
        let all = [&self.plc.server().clone(), &self.handles].into_iter().chain(of_hosts).cloned().collect::<Vec<_>>();
        all.into_iter().filter(|server| seen.insert(server.origin().to_owned())).collect()
    }

    /// Every request to any server, in the order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        let mut all: Vec<_> = self.servers().iter().flat_map(|server| server.log().all()).collect();
        all.sort_by_key(|request| request.at_millis);
        all
    }

    /// Forgets every request so far, not the ledger.
    pub fn clear_logs(&self) {
        for server in self.servers() {
            server.log().clear();
        }
    }

    /// `localhost:PORT` of every server, comma separated: the value of `BOWERBIRD_EGRESS_ALLOW`. The canary listener is
    /// not in it.
    pub fn egress_allow(&self) -> String {
        self.servers().iter().map(FaultServer::host_and_port).collect::<Vec<_>>().join(",")
    }

    /// The settings that wire a bowerbird process to this network.
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: String| (name.to_owned(), value);
        vec![
            set("BOWERBIRD_PLC_URL", self.plc.server().origin().to_owned()),
            set("BOWERBIRD_HANDLE_RESOLVER_URL", self.pds().origin().to_owned()),
            set("BOWERBIRD_DNS_SERVERS", self.dns.address().to_string()),
            set("BOWERBIRD_EGRESS_ALLOW", self.egress_allow()),
        ]
    }

    /// Panics when the canary listener was called or a spent secret was presented again.
    pub fn assert_clean(&self) {
        self.canary.assert_untouched();
        self.shared.ledger.assert_no_replays();
    }
}

impl Drop for FaultNetwork {
    fn drop(&mut self) {
        for server in self.servers() {
            server.go_down();
        }
        self.dns.stop();
    }
}
