//! The XRPC proxy: a call of an app, made at the account's own server with the account's own credential.

mod error;
pub(crate) mod headers;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, ConnectionStore, StreamBody};
use bowerbird_core::{Account, AccountId, ConnectionId, Nsid, Platform};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, Response, StatusCode};

pub use error::{ProxyError, UpstreamFault};
use headers::{ATPROTO_PROXY, to_client, to_server};
pub use policy::{
    ALLOWED_BY_DEFAULT, AllowedServices, DENIED_BY_DEFAULT, ProxyPolicyConfig, ProxyPolicyError, SERVICES_BY_DEFAULT,
};
use policy::{ProxyPolicy, ServiceName};

use crate::identity::cache::AgingCache;
use crate::upstream::{Upstream, UpstreamCall};

/// How long it is remembered which connection an account's own identity has. The pair never changes while both exist.
const CONNECTION_LIFE: Duration = Duration::from_mins(5);
const REMEMBERED_CONNECTIONS: u64 = 50_000;

/// A call to pass on.
pub struct ProxyCall {
    /// Whose server is called, with whose credential.
    pub account: Arc<Account>,
    /// The method, checked by its grammar.
    pub nsid: Nsid,
    /// Method, query, headers and body as they were received. The path is not looked at.
    pub request: Request<StreamBody>,
}

/// Passes calls on. Cheap to clone.
#[derive(Clone)]
pub struct XrpcProxy(Arc<Shared>);

struct Shared {
    policy: ProxyPolicy,
    connections: Arc<dyn ConnectionStore>,
    known: AgingCache<AccountId, ConnectionId>,
    upstream: Upstream,
}

impl XrpcProxy {
    pub(crate) fn new(
        config: &ProxyPolicyConfig,
        connections: Arc<dyn ConnectionStore>,
        clock: Arc<dyn Clock>,
        upstream: Upstream,
    ) -> Result<Self, ProxyPolicyError> {
        let known = AgingCache::new(REMEMBERED_CONNECTIONS, CONNECTION_LIFE, clock);
        Ok(Self(Arc::new(Shared { policy: ProxyPolicy::new(config)?, connections, known, upstream })))
    }

    /// Makes the call and gives the server's own answer, of whatever status, with its headers filtered and made
    /// harmless in our origin. Both bodies are streamed.
    pub async fn call(&self, call: ProxyCall) -> Result<Response<StreamBody>, ProxyError> {
        let (received, body) = call.request.into_parts();
        if !matches!(received.method, Method::GET | Method::POST) {
            return Err(ProxyError::MethodNotAllowed);
        }
        if !self.0.policy.allows_method(&call.nsid) {
            return Err(ProxyError::MethodDenied(call.nsid.to_string()));
        }
        self.check_service(&received.headers)?;
        let account = call.account;
        let connection = self.connection_of(Arc::clone(&account)).await?;
        let headers = to_server(&received.headers);
        let conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE);
        let upstream_call = UpstreamCall {
            connection,
            method: received.method,
            path: format!("/xrpc/{}", call.nsid),
            query: received.uri.query().map(str::to_owned),
            headers,
            body,
        };
        let answer = match self.0.upstream.call(upstream_call).await {
            Ok(answer) => answer,
            Err(error) => {
                self.forget_when_gone(account.id, &error);
                return Err(error);
            }
        };
        let (head, body) = answer.into_parts();
        if is_redirect(head.status, conditional) {
            return Err(ProxyError::Upstream(UpstreamFault::Redirect(head.status)));
        }
        let mut passed = Response::new(body);
        *passed.status_mut() = head.status;
        *passed.headers_mut() = to_client(&head.headers);
        Ok(passed)
    }

    /// `atproto-proxy` may be there once, well-formed, and name a service that the policy knows.
    fn check_service(&self, headers: &HeaderMap) -> Result<(), ProxyError> {
        let mut values = headers.get_all(&ATPROTO_PROXY).iter();
        let Some(value) = values.next() else { return Ok(()) };
        let service = value.to_str().ok().filter(|_| values.next().is_none()).and_then(ServiceName::parse);
        let service = service.ok_or(ProxyError::HeaderInvalid("atproto-proxy"))?;
        if self.0.policy.allows_service(service) { Ok(()) } else { Err(ProxyError::ServiceDenied) }
    }

    async fn connection_of(&self, account: Arc<Account>) -> Result<ConnectionId, ProxyError> {
        if let Some(connection) = self.0.known.get(&account.id) {
            return Ok(connection);
        }
        let found = self.0.connections.find(account.id, &Platform::atproto(), account.did.as_str()).await;
        let connection = found.map_err(ProxyError::Store)?.ok_or(ProxyError::NotConnected)?;
        self.0.known.put(account.id, connection.id);
        Ok(connection.id)
    }

    /// An account that was removed and came back has another connection.
    fn forget_when_gone(&self, account: AccountId, error: &ProxyError) {
        if matches!(error, ProxyError::NotConnected) {
            self.0.known.forget(&account);
        }
    }
}

/// 304 is an answer to a condition of the client's own; every other 3xx would steer somebody elsewhere.
fn is_redirect(status: StatusCode, conditional: bool) -> bool {
    status.is_redirection() && !(status == StatusCode::NOT_MODIFIED && conditional)
}
