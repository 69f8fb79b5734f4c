//! A receiver of webhooks: takes everything, and keeps it in its log.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;

use super::http_server::{FaultServer, Site};
use super::ledger::Ledger;
use super::network_clock::NetworkClock;
use super::reply::Reply;
use super::request_log::RecordedRequest;

struct Receiver;

impl FaultServer {
    /// Answers 204 to everything. Rules and the request log work as on any other server.
    pub fn receiving() -> Self {
        let server = Self::start(&Ledger::default(), &NetworkClock::default());
        server.install(Arc::new(Receiver));
        server
    }
}

#[async_trait]
impl Site for Receiver {
    async fn answer(&self, _request: &RecordedRequest, _upload: Option<Incoming>) -> Reply {
        Reply::empty(204)
    }
}
