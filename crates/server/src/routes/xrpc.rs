//! `/xrpc/{nsid}`: calls of the account's own server, made with the account's credential (row A-035).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use bowerbird_atproto::{ProxyCall, ProxyError, XrpcProxy};
use bowerbird_core::ports::BoxError;
use bowerbird_core::{Account, Nsid};
use http::request::Parts as RequestParts;
use http_body_util::BodyExt as _;

use crate::error::ApiError;
use crate::extract::SelectedAccount;
use crate::overview::NOT_CONNECTED;
use crate::parts::Parts;
use crate::site::Site;

/// The method that a call names: the path exactly as it came, so that nothing encoded passes (security row 67).
pub(crate) struct CalledMethod(Nsid);

impl FromRequestParts<Parts> for CalledMethod {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut RequestParts, _: &Parts) -> Result<Self, ApiError> {
        let name = parts.uri.path().strip_prefix("/xrpc/").unwrap_or_default();
        Nsid::parse(name).map(Self).map_err(|error| ApiError::bad_request("invalid_method", error.to_string()))
    }
}

/// Calls a query of the account's server
///
/// The query string is passed on as it is. Headers: `Bowerbird-Account` chooses another account of this device;
/// `atproto-proxy` and `atproto-accept-labelers` are passed on.
#[utoipa::path(
    get, path = "/xrpc/{nsid}", tag = "Apps", operation_id = "query",
    security(("cookie" = []), ("bearer" = [])),
    params(
        ("nsid" = String, Path, description = "The method, such as app.bsky.feed.getTimeline"),
        ("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of another account of this device"),
    ),
    responses(
        (status = 200, description = "The server's own answer, of whatever status"),
        (status = 400, description = "Not a method name, or a malformed header"),
        (status = 401, description = "Nobody is signed in; or `needs_reauth`, with `reason` and `repairUrl`"),
        (status = 403, description = "The policy denies the method or the service"),
        (status = 404, description = "The account is not on this device"),
        (status = 502, description = "The account's server does not answer"),
        (status = 503, description = "Try again"),
    )
)]
pub(crate) async fn get(
    State(proxy): State<XrpcProxy>,
    State(site): State<Site>,
    CalledMethod(nsid): CalledMethod,
    SelectedAccount(account): SelectedAccount,
    request: Request,
) -> Result<Response, ApiError> {
    call(proxy, site, nsid, account, request).await
}

/// Calls a procedure of the account's server
///
/// As the query; the body is streamed.
#[utoipa::path(
    post, path = "/xrpc/{nsid}", tag = "Apps", operation_id = "procedure",
    security(("cookie" = []), ("bearer" = [])),
    params(
        ("nsid" = String, Path, description = "The method, such as com.atproto.repo.createRecord"),
        ("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of another account of this device"),
        ("Bowerbird-CSRF" = Option<String>, Header, description = "`1`; needed with a cookie"),
    ),
    responses(
        (status = 200, description = "The server's own answer, of whatever status"),
        (status = 400, description = "Not a method name, or a malformed header"),
        (status = 401, description = "Nobody is signed in; or `needs_reauth`, with `reason` and `repairUrl`"),
        (status = 403, description = "The policy denies the method or the service, or the request may be forged"),
        (status = 404, description = "The account is not on this device"),
        (status = 502, description = "The account's server does not answer"),
        (status = 503, description = "Try again"),
    )
)]
pub(crate) async fn post(
    State(proxy): State<XrpcProxy>,
    State(site): State<Site>,
    CalledMethod(nsid): CalledMethod,
    SelectedAccount(account): SelectedAccount,
    request: Request,
) -> Result<Response, ApiError> {
    call(proxy, site, nsid, account, request).await
}

async fn call(
    proxy: XrpcProxy,
    site: Site,
    nsid: Nsid,
    account: Arc<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    let call = ProxyCall { account: Arc::clone(&account), nsid, request };
    match proxy.call(call).await {
        Ok(response) => Ok(response.map(Body::new)),
        Err(error) => Err(proxy_error(error, &site, &account)),
    }
}

fn proxy_error(error: ProxyError, site: &Site, account: &Account) -> ApiError {
    let (status, code) = (error.status(), error.code());
    let answer = match &error {
        ProxyError::NeedsReauth { reason } => {
            return needs_reauth(site, account, reason.code(), reason.explanation());
        }
        ProxyError::NotConnected => return needs_reauth(site, account, NOT_CONNECTED.0, NOT_CONNECTED.1),
        ProxyError::TryLater { after_seconds } => {
            ApiError::new(status, code, error.to_string()).with_retry_after(after_seconds.unwrap_or(5).into())
        }
        ProxyError::Store(_) => ApiError::new(status, code, error.to_string()).with_retry_after(2),
        _ => ApiError::new(status, code, error.to_string()),
    };
    answer.with_cause(error)
}

/// The answer for an account that only its person can make usable again.
fn needs_reauth(site: &Site, account: &Account, reason: &'static str, explanation: &'static str) -> ApiError {
    ApiError::new(http::StatusCode::UNAUTHORIZED, "needs_reauth", explanation)
        .with_field("reason", reason)
        .with_field("repairUrl", site.repair_url(account.id))
}
