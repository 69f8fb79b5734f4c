//! The listener of the operator: a page, warnings, metrics, health and every event. Nothing that it says is a secret, but it is nobody
//! else's business: it belongs on loopback or a private network, and asks for a token where it has one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bowerbird_core::Secret;
use bowerbird_core::ports::{Clock, OlderContractStore, OlderContractUse};
use bowerbird_events::{EventHub, METRICS_TYPE};
use bowerbird_vault::Vault;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Serialize;

use crate::older_contract::{OLDER_CONTRACT_HINT, older_contract_warnings};
use crate::pages::{self, Moment, OperatorPage};
use crate::parts::ReadyCheck;
use crate::routes::events;

/// What the operator's listener is made of.
#[derive(Clone)]
pub struct AdminParts {
    /// Figures and events.
    pub events: EventHub,
    /// For its health.
    pub vault: Vault,
    /// For `GET /ready`.
    pub ready: ReadyCheck,
    /// What must be shown as bearer, for all but `/health` and `/ready`. Without one, only requests by address or to
    /// `localhost` are answered: a page that makes a browser call us under a name of its own gets nothing.
    pub token: Option<Secret>,
    /// For its page.
    pub app_name: String,
    /// Which apps are given their session in an address.
    pub older_contract: Arc<dyn OlderContractStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Builds the router of the operator's listener.
pub fn admin_router(parts: AdminParts) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/warnings", get(warnings))
        .route("/metrics", get(metrics))
        .route("/events", get(everything));
    let guarded = guarded.route_layer(middleware::from_fn_with_state(parts.clone(), admit));
    Router::new()
        .merge(guarded)
        .route("/health", get(health))
        .route("/ready", get(ready))
        .layer(middleware::map_response(dress))
        .with_state(parts)
}

async fn metrics(State(parts): State<AdminParts>) -> Response {
    let AdminParts { events, vault, .. } = &parts;
    let text = events.metrics().render(&vault.health(), events.streams().count(), vault.checkouts_from_memory());
    ([(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE))], text).into_response()
}

async fn everything(State(parts): State<AdminParts>) -> Response {
    match parts.events.streams().follow_everything() {
        Ok(subscription) => events::everything(subscription),
        Err(refused) => plain(StatusCode::SERVICE_UNAVAILABLE, &refused.to_string()),
    }
}

async fn health() -> Response {
    plain(StatusCode::OK, "ok")
}

async fn ready(State(parts): State<AdminParts>) -> Response {
    match why_not_ready(&parts).await {
        None => plain(StatusCode::OK, "ready"),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {why}")),
    }
}

/// In words for anybody; what exactly it is, is in the log.
async fn why_not_ready(parts: &AdminParts) -> Option<&'static str> {
    match (parts.ready)().await {
        Ok(()) if parts.vault.health().is_ready() => None,
        Ok(()) => Some("the vault is draining or holds unsaved answers"),
        Err(cause) => {
            tracing::warn!(cause, "not ready");
            Some("the database does not answer")
        }
    }
}

/// What the operator reads.
async fn page(State(parts): State<AdminParts>) -> Response {
    let now = parts.clock.now();
    let uses = older_contract_warnings(parts.older_contract.as_ref(), now).await;
    pages::operator_page(&OperatorPage {
        app_name: &parts.app_name,
        not_ready: why_not_ready(&parts).await,
        older_contract: uses.as_deref().ok(),
        now,
    })
}

/// A warning, for a program.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning {
    code: &'static str,
    message: &'static str,
    hint: &'static str,
    /// The address of the app, as it is configured.
    address: String,
    times: u64,
    first_seen_at: String,
    last_seen_at: String,
}

/// The same for a program.
async fn warnings(State(parts): State<AdminParts>) -> Response {
    let now = parts.clock.now();
    let uses = match older_contract_warnings(parts.older_contract.as_ref(), now).await {
        Ok(uses) => uses,
        Err(error) => {
            tracing::warn!(%error, "the warnings could not be read");
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer");
        }
    };
    let warning = |one: OlderContractUse| Warning {
        code: "older_contract",
        message: "An app is given its session in its address",
        hint: OLDER_CONTRACT_HINT,
        address: one.address,
        times: one.times,
        first_seen_at: Moment::of(one.first_at, now).machine,
        last_seen_at: Moment::of(one.last_at, now).machine,
    };
    let warnings: Vec<Warning> = uses.into_iter().map(warning).collect();
    axum::Json(serde_json::json!({ "warnings": warnings })).into_response()
}

async fn admit(State(parts): State<AdminParts>, request: Request, next: Next) -> Response {
    match &parts.token {
        Some(token) if !shows(request.headers(), token) => {
            let mut refused = plain(StatusCode::UNAUTHORIZED, "this needs BOWERBIRD_ADMIN_TOKEN as bearer");
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            refused
        }
        None if !is_by_address(request.uri(), request.headers()) => {
            plain(StatusCode::MISDIRECTED_REQUEST, "call this by its address, or set BOWERBIRD_ADMIN_TOKEN")
        }
        _ => next.run(request).await,
    }
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return false };
    let bearer = only.to_str().ok().and_then(|text| text.split_once(' '));
    bearer.is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case("bearer") && token.matches(shown))
}

/// Whether the request names an address or `localhost` and nothing else: not what a rebound DNS name leads to.
fn is_by_address(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let hosts: Vec<&str> = uri.authority().map(http::uri::Authority::as_str).into_iter().chain(&mut named).collect();
    let by_address = |host: &&str| {
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    };
    !hosts.is_empty() && hosts.iter().all(by_address)
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], format!("{text}\n"))
        .into_response()
}

async fn dress(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_addresses_and_localhost_are_by_address() {
        let path = Uri::from_static("/metrics");
        for good in ["127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "localhost:9090", "LOCALHOST"] {
            assert!(is_by_address(&path, &headers(&[(HOST, good)])), "{good}");
        }
        for bad in ["", "evil.example", "localhost.evil.example:9090", "127.0.0.1.evil.example", "[::1", "a b"] {
            assert!(!is_by_address(&path, &headers(&[(HOST, bad)])), "{bad}");
        }
        assert!(!is_by_address(&path, &HeaderMap::new()));
        assert!(!is_by_address(&path, &headers(&[(HOST, "127.0.0.1"), (HOST, "evil.example")])));
        let absolute = Uri::from_static("http://evil.example/metrics");
        assert!(!is_by_address(&absolute, &headers(&[(HOST, "127.0.0.1")])));
    }

    #[test]
    fn the_token_must_be_shown_once_and_whole() {
        let token = Secret::new("0123456789abcdef0123456789abcdef");
        let shown = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| (AUTHORIZATION, *value)).collect();
            shows(&headers(&pairs), &token)
        };
        assert!(shown(&["Bearer 0123456789abcdef0123456789abcdef"]));
        assert!(shown(&["bearer 0123456789abcdef0123456789abcdef"]));
        for bad in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdef", "Basic 0123456789abcdef0123456789abcdef"] {
            assert!(!shown(&[bad]), "{bad}");
        }
        assert!(!shown(&[]));
        assert!(!shown(&["Bearer 0123456789abcdef0123456789abcdef", "Bearer x"]));
    }
}
