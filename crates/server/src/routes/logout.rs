//! `POST /api/auth/logout`: signs this device out (row A-017).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::json;
use crate::cookies;
use crate::csrf;
use crate::error::{ApiError, ERROR_HEADER};
use crate::extract::{CredentialFault, Presented, SignedIn};
use crate::sign_out::Departures;
use crate::site::Site;

const DONE: &str = r#"{"success":true}"#;
const FAILED: &str = r#"{"success":false,"error":"Logout failed"}"#;

/// Signs this device out
///
/// With a cookie this needs `Bowerbird-CSRF: 1`, as every unsafe call does; except from clients that are no browsers
/// (no `Origin`, `Referer` or `Sec-Fetch-…`): apps of the older contract send the cookie alone.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "Apps", operation_id = "logout",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "Signed out, or it was already: `{success: true}`"),
        (status = 403, description = "The request may be forged"),
        (status = 500, description = "`{success: false, error: \"Logout failed\"}`"),
    )
)]
pub(crate) async fn post(
    State(departures): State<Departures>,
    State(site): State<Site>,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, ApiError> {
    let SignedIn { device, via, .. } = match presented {
        Ok(Presented(signed_in)) => signed_in,
        Err(fault) if fault.is_signed_out() => return Ok(signed_out(&headers, &site)),
        Err(CredentialFault::Store(error)) => {
            tracing::warn!(%error, "a device could not be signed out");
            return Ok(failed());
        }
        Err(fault) => return Ok(fault.into_response()),
    };
    if via.cookie().is_some() && !csrf::is_not_a_browser(&headers) {
        csrf::check_header(&headers, &site)?;
    }
    if let Err(error) = departures.sign_out(&device).await {
        tracing::warn!(%error, "a device could not be signed out");
        return Ok(failed());
    }
    Ok(signed_out(&headers, &site))
}

fn signed_out(headers: &HeaderMap, site: &Site) -> Response {
    let mut response = json(DONE);
    if let Ok(Some((name, _))) = cookies::session_cookie(headers, site) {
        response.headers_mut().append(SET_COOKIE, cookies::clear_session(site, name));
    }
    response
}

fn failed() -> Response {
    let mut response = json(FAILED);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static("logout_failed"));
    response
}
