//! What stands behind one origin: an authorization server, a PDS, or both, as on a self-hosted PDS.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;

use super::authorization_server::IssuerState;
use super::handle_server::handle_answer;
use super::http_server::Site;
use super::misbehave::endpoint;
use super::pds::PdsState;
use super::reply::Reply;
use super::request_log::RecordedRequest;

pub(crate) struct HostSite {
    pub(crate) issuer: Option<Arc<IssuerState>>,
    pub(crate) pds: Option<Arc<PdsState>>,
}

#[async_trait]
impl Site for HostSite {
    async fn answer(&self, request: &RecordedRequest, upload: Option<Incoming>) -> Reply {
        if let Some(issuer) = &self.issuer
            && let Some(reply) = issuer.answer(request).await
        {
            return reply;
        }
        let Some(pds) = &self.pds else { return Reply::text(404, "text/plain; charset=utf-8", "Not Found") };
        match request.path() {
            endpoint::PROTECTED_RESOURCE => {
                Reply::json(200, &pds.protected_resource()).with("Access-Control-Allow-Origin", "*")
            }
            endpoint::ATPROTO_DID => handle_answer(&pds.shared.accounts, request.header("host").unwrap_or_default()),
            path if path.starts_with("/xrpc/") => pds.xrpc(request, upload).await,
            _ => Reply::text(404, "text/plain; charset=utf-8", "Not Found"),
        }
    }

    fn takes_upload(&self, path: &str) -> bool {
        self.pds.is_some() && path == "/xrpc/com.atproto.repo.uploadBlob"
    }
}
