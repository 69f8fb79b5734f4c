//! The handles' own web server: `/.well-known/atproto-did` by `Host`, and did:web documents.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::Value;

use super::accounts::Accounts;
use super::http_server::Site;
use super::misbehave::endpoint;
use super::reply::Reply;
use super::request_log::RecordedRequest;

/// did:web documents by host and port; shared by clones.
pub(crate) type WebDocuments = Arc<Mutex<HashMap<String, Value>>>;

pub(crate) struct HandleSite {
    pub(crate) accounts: Accounts,
    pub(crate) documents: WebDocuments,
}

#[async_trait]
impl Site for HandleSite {
    async fn answer(&self, request: &RecordedRequest, _upload: Option<Incoming>) -> Reply {
        let host = request.header("host").unwrap_or_default();
        match request.path() {
            endpoint::ATPROTO_DID => handle_answer(&self.accounts, host),
            "/.well-known/did.json" => match self.documents.lock().get(host) {
                Some(document) => Reply::json(200, document),
                None => Reply::text(404, "text/plain", "Not Found"),
            },
            _ => Reply::text(404, "text/plain", "Not Found"),
        }
    }
}

/// What the host of a handle answers for it, as a PDS does for the handles that it hosts.
pub(crate) fn handle_answer(accounts: &Accounts, host: &str) -> Reply {
    let handle = host.split(':').next().unwrap_or_default();
    match accounts.did_of_handle(handle) {
        Some(did) => Reply::text(200, "text/plain; charset=utf-8", did),
        None => Reply::text(404, "text/plain; charset=utf-8", "User not found"),
    }
}
