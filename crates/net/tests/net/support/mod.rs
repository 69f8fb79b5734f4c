//! Servers on loopback, and shorthands.

pub(crate) mod authority;
pub(crate) mod dns;
pub(crate) mod process;
pub(crate) mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bowerbird_core::ports::{Clock, HttpClient, HttpError, Purpose};
use bowerbird_net::{HostPort, NetClient, NetConfig, SystemClock, TestSwitches};
use bytes::Bytes;
use http::{Request, Response};

/// Starts a stopwatch.
#[expect(clippy::disallowed_methods, reason = "tests measure deadlines from outside")]
pub(crate) fn start_watch() -> Instant {
    Instant::now()
}

/// What differs between the clients of the tests.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: NetConfig,
    pub(crate) switches: TestSwitches,
}

impl Setup {
    /// Nothing exempt, a DNS server that nobody listens on, no system roots (they take time to read).
    pub(crate) fn new() -> Self {
        let mut setup = Self::default();
        setup.config.trust_system_roots = false;
        setup.config.dns_servers = vec![SocketAddr::from(([127, 0, 0, 1], 9))];
        setup
    }

    pub(crate) fn allow(mut self, address: SocketAddr) -> Self {
        self.config.egress_allow.push(HostPort::parse(&address.to_string()).unwrap());
        self
    }

    pub(crate) fn allow_name(mut self, entry: &str) -> Self {
        self.config.egress_allow.push(HostPort::parse(entry).unwrap());
        self
    }

    pub(crate) fn dns(mut self, server: SocketAddr) -> Self {
        self.config.dns_servers = vec![server];
        self
    }

    pub(crate) fn faster(mut self, divisor: u32) -> Self {
        self.switches.deadline_divisor = divisor;
        self
    }

    pub(crate) fn client(self) -> Arc<NetClient> {
        self.client_at(Arc::new(SystemClock::new()))
    }

    pub(crate) fn client_at(self, clock: Arc<dyn Clock>) -> Arc<NetClient> {
        NetClient::for_tests(self.config, clock, self.switches).unwrap()
    }
}

pub(crate) const PURPOSES: [Purpose; 5] =
    [Purpose::HandleLookup, Purpose::Document, Purpose::Authorization, Purpose::Refresh, Purpose::Api];

pub(crate) fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

pub(crate) fn post(url: &str, body: &'static str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// A GET that must fail.
pub(crate) async fn refused(client: &NetClient, url: &str, purpose: Purpose) -> HttpError {
    client.send(get(url), purpose).await.map(|answer| panic!("{url} answered {answer:?}")).unwrap_err()
}

/// A GET that must work.
pub(crate) async fn fetched(client: &NetClient, url: &str, purpose: Purpose) -> Response<Bytes> {
    client.send(get(url), purpose).await.unwrap_or_else(|error| panic!("{url}: {error:?}"))
}
