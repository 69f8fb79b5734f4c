//! `GET` and `POST /mobile/refresh-token`: a fresh seal for an app that keeps one (rows A-013, A-014; DECISIONS 5).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::StoreError;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{documented_error, json_of};
use crate::accounts::Accounts;
use crate::csrf;
use crate::extract::{CredentialFault, Presented, SignedIn};
use crate::seals::Seals;
use crate::site::Site;

const MISSING: &str = r#"{"success":false,"error":"Missing Authorization header"}"#;
const INVALID: &str = r#"{"success":false,"error":"Token refresh failed","reason":"session_invalid"}"#;

/// A fresh seal.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefreshedBody<'a> {
    /// Always true here.
    success: bool,
    /// What to keep instead of the seal that was sent.
    payload: RefreshedPayload<'a>,
}

/// What an app keeps.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefreshedPayload<'a> {
    /// The active account's DID.
    did: &'a str,
    /// The seal, for the session's whole life from now.
    sid: &'a str,
}

/// Gives a fresh seal, and extends the session
///
/// By cookie, or by bearer. The seal that was sent stays good for its own time. A client with a cookie gets the new one as
/// cookie too. What `/api/auth/tokens` gives as `accessToken` is not renewed here, but by its `refreshToken`.
#[utoipa::path(
    get, path = "/mobile/refresh-token", tag = "Apps", operation_id = "refreshSeal",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "A fresh seal", body = RefreshedBody),
        (status = 401, description = "`{success: false, error}`: `Missing Authorization header`, or `Token refresh failed` with `reason: \"session_invalid\"`"),
        (status = 500, description = "`{success: false, error: \"Token refresh failed\"}`: the database does not answer"),
    )
)]
pub(crate) async fn get(
    State(accounts): State<Accounts>,
    State(seals): State<Seals>,
    State(site): State<Site>,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, Response> {
    let Presented(signed_in) = presented.map_err(refusal)?;
    answer(&accounts, &seals, &site, &signed_in).await
}

/// Gives a fresh seal, and extends the session
///
/// With a cookie this needs `Bowerbird-CSRF: 1`, except from clients that are no browsers.
#[utoipa::path(
    post, path = "/mobile/refresh-token", tag = "Apps", operation_id = "refreshSealByPost",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "A fresh seal", body = RefreshedBody),
        (status = 401, description = "`{success: false, error}`: `Missing Authorization header`, or `Token refresh failed` with `reason: \"session_invalid\"`"),
        (status = 403, description = "The request may be forged"),
        (status = 500, description = "`{success: false, error: \"Token refresh failed\"}`: the database does not answer"),
    )
)]
pub(crate) async fn post(
    State(accounts): State<Accounts>,
    State(seals): State<Seals>,
    State(site): State<Site>,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, Response> {
    let Presented(signed_in) = presented.map_err(refusal)?;
    if signed_in.via.cookie().is_some() && !csrf::is_not_a_browser(&headers) {
        csrf::check_header(&headers, &site).map_err(IntoResponse::into_response)?;
    }
    answer(&accounts, &seals, &site, &signed_in).await
}

async fn answer(accounts: &Accounts, seals: &Seals, site: &Site, signed_in: &SignedIn) -> Result<Response, Response> {
    let SignedIn { device, via, is_brief } = signed_in;
    if *is_brief {
        return Err(CredentialFault::Missing.into_answer(INVALID, "session_invalid"));
    }
    let account = accounts.active(device).await.map_err(|error| failed(&error))?;
    let account = account.ok_or_else(|| CredentialFault::Missing.into_answer(INVALID, "session_invalid"))?;
    let fresh = seals.renew(&device.session, &account);
    let payload = RefreshedPayload { did: account.did.as_str(), sid: fresh.expose() };
    let mut response = json_of(&RefreshedBody { success: true, payload });
    if let Some(cookie) = via.cookie().and_then(|name| fresh.cookie(site, name)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn refusal(fault: CredentialFault) -> Response {
    match fault {
        CredentialFault::Missing => fault.into_answer(MISSING, "session_invalid"),
        CredentialFault::Store(error) => failed(&error),
        fault => fault.into_answer(INVALID, "session_invalid"),
    }
}

fn failed(error: &StoreError) -> Response {
    tracing::warn!(%error, "a seal could not be renewed");
    let body = json!({"success": false, "error": "Token refresh failed"});
    documented_error(StatusCode::INTERNAL_SERVER_ERROR, "store_unavailable", &body)
}
