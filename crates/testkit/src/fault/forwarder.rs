//! What a TLS proxy in front of a server is to it: requests come with the public `Host`.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;

use super::http_server::{FaultServer, Site};
use super::ledger::Ledger;
use super::network_clock::NetworkClock;
use super::reply::Reply;
use super::request_log::RecordedRequest;
use crate::http_client::{TestClient, TestRequest};

/// Headers that belong to one connection, or that the way on writes itself.
const OF_ONE_HOP: [&str; 6] = ["host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"];

struct Forwarder {
    to: SocketAddr,
    host: String,
}

impl FaultServer {
    /// Passes requests on to a server under another `Host`. Rules and the request log work as on any other server.
    pub fn forwarding(to: SocketAddr, host: &str) -> Self {
        let server = Self::start(&Ledger::default(), &NetworkClock::default());
        server.install(Arc::new(Forwarder { to, host: host.to_owned() }));
        server
    }
}

#[async_trait]
impl Site for Forwarder {
    async fn answer(&self, request: &RecordedRequest, _upload: Option<Incoming>) -> Reply {
        let url = format!("http://{}{}", self.to, request.target);
        let mut onward = TestRequest::new(&request.method, &url).header("host", &self.host).body(request.body.clone());
        let kept = |(name, _): &&(String, String)| !OF_ONE_HOP.contains(&name.as_str());
        for (name, value) in request.headers.iter().filter(kept) {
            onward = onward.header(name, value);
        }
        let Ok(answer) = TestClient::new().try_send(onward).await else { return Reply::empty(502) };
        let mut reply = Reply::empty(answer.status).with_body(answer.body.clone());
        for (name, value) in answer.headers.iter().filter(kept) {
            reply = reply.with(name, value);
        }
        reply
    }
}
