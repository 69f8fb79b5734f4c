//! `GET /api/auth/session`: is the session good, and whose is it? (rows A-010 to A-012, A-048)

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::Timestamp;
use bowerbird_core::ports::{Clock, StoreError};
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::accounts::Accounts;
use crate::error::{ApiError, ERROR_HEADER};
use crate::extract::{CredentialFault, Presented, SignedIn};
use crate::rolling::RollingAnswer;
use crate::seals::Seals;
use crate::shown_token::ShownTokens;
use crate::site::Site;

const INVALID: &str = r#"{"valid":false,"error":"Session invalid or expired","reason":"session_invalid"}"#;
const NO_ACCOUNT: &str = r#"{"valid":false,"error":"OAuth session data not found","reason":"oauth_data_missing"}"#;
const FAILED: &str = r#"{"valid":false,"error":"Session validation failed","reason":"exception_thrown"}"#;

/// A good session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionBody<'a> {
    /// Always true here.
    valid: bool,
    /// The active account's DID.
    did: &'a str,
    /// Its handle.
    handle: &'a str,
    /// The same, under its older name.
    user_handle: &'a str,
    /// Its display name.
    display_name: Option<&'a str>,
    /// The address of its picture.
    avatar: Option<&'a str>,
    /// Null, unless tokens are shown for debugging on a loopback address.
    access_token: Option<&'a str>,
    /// Null, always: a refresh token never leaves the server.
    refresh_token: Option<&'a str>,
    /// When the session ends unless it is used again, in milliseconds since 1970.
    #[schema(value_type = i64)]
    expires_at: Timestamp,
}

/// Why the check gives no session.
pub(crate) enum SessionFault {
    Credential(CredentialFault),
    NoAccount,
    Store(StoreError),
}

impl IntoResponse for SessionFault {
    fn into_response(self) -> Response {
        match self {
            Self::Credential(CredentialFault::Store(error)) | Self::Store(error) => {
                tracing::warn!(%error, "a session could not be checked");
                fault(StatusCode::SERVICE_UNAVAILABLE, FAILED, "exception_thrown")
            }
            Self::Credential(fault) => fault.into_answer(INVALID, "session_invalid"),
            Self::NoAccount => fault(StatusCode::UNAUTHORIZED, NO_ACCOUNT, "oauth_data_missing"),
        }
    }
}

fn fault(status: StatusCode, body: &'static str, code: &'static str) -> Response {
    let mut response = json(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static(code));
    response
}

/// Checks the session and extends it
///
/// A client with a cookie gets a fresh one, for the session's whole life from now.
#[utoipa::path(
    get, path = "/api/auth/session", tag = "Apps", operation_id = "getSession",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "The session is good", body = SessionBody),
        (status = 401, description = "It is not: `{valid: false, error, reason}`; reason is session_invalid or oauth_data_missing"),
        (status = 503, description = "The database does not answer; reason is exception_thrown"),
    )
)]
pub(crate) async fn get(
    State(accounts): State<Accounts>,
    State(seals): State<Seals>,
    State(site): State<Site>,
    State(clock): State<Arc<dyn Clock>>,
    State(tokens): State<ShownTokens>,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, SessionFault> {
    let Presented(signed_in) = presented.map_err(SessionFault::Credential)?;
    let SignedIn { device, via, is_brief } = &signed_in;
    // A seal for the next calls alone is good, and extends nothing.
    let cookie = via.cookie().filter(|_| !is_brief);
    let account = accounts.active(device).await.map_err(SessionFault::Store)?.ok_or(SessionFault::NoAccount)?;
    let now = clock.monotonic();
    if let Some(kept) = device.answer.lock().as_ref().filter(|kept| kept.fits(&account, cookie, now)) {
        return Ok(answer(kept));
    }
    let shown = tokens.access_token(&account).await;
    let fresh = seals.renew(&device.session, &account);
    let handle = account.handle.as_str();
    let body = SessionBody {
        valid: true,
        did: account.did.as_str(),
        handle,
        user_handle: handle,
        display_name: account.profile.display_name.as_deref(),
        avatar: account.profile.avatar.as_deref(),
        access_token: shown.as_ref().map(bowerbird_core::Secret::expose),
        refresh_token: None,
        expires_at: fresh.expires_at,
    };
    let body = match serde_json::to_vec(&body) {
        Ok(body) => Bytes::from(body),
        Err(error) => return Ok(ApiError::internal(error).into_response()),
    };
    let set_cookie = cookie.and_then(|name| fresh.cookie(&site, name));
    let made = RollingAnswer { account, cookie, made_at: now, body, set_cookie };
    let response = answer(&made);
    if shown.is_none() {
        *device.answer.lock() = Some(Arc::new(made));
    }
    Ok(response)
}

fn answer(made: &RollingAnswer) -> Response {
    let mut response = json(made.body.clone());
    if let Some(cookie) = &made.set_cookie {
        response.headers_mut().insert(SET_COOKIE, cookie.clone());
    }
    response
}
