//! The listener of the operator: metrics, health and every event. Nothing that it says is a secret, but it is nobody
//! else's business: it belongs on loopback or a private network, and asks for a token where it has one.

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bowerbird_core::Secret;
use bowerbird_events::{EventHub, METRICS_TYPE};
use bowerbird_vault::Vault;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

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
}

/// Builds the router of the operator's listener.
pub fn admin_router(parts: AdminParts) -> Router {
    let guarded = Router::new().route("/metrics", get(metrics)).route("/events", get(everything));
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

/// Why it is not ready is in the log.
async fn ready(State(parts): State<AdminParts>) -> Response {
    match (parts.ready)().await {
        Ok(()) if parts.vault.health().is_ready() => plain(StatusCode::OK, "ready"),
        Ok(()) => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: the vault is draining or holds unsaved answers"),
        Err(cause) => {
            tracing::warn!(cause, "not ready");
            plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: the database does not answer")
        }
    }
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
