//! The three calls of an app-password session (`com.atproto.server.createSession`, `refreshSession`, `deleteSession`).

use std::time::Duration;

use bowerbird_core::ports::{BoxError, HttpClient, HttpError, Purpose};
use bowerbird_core::{Did, Secret};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

/// How long the end of a session is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest words of a server that are kept, in characters.
const MAX_WORDS: usize = 200;

/// A session as a server gave it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionAnswer {
    pub(crate) access_jwt: Secret,
    pub(crate) refresh_jwt: Secret,
    pub(crate) did: String,
}

/// An XRPC refusal. The words are for the log: some servers repeat what they were sent, so that they are left out when
/// they might hold a secret.
#[derive(Debug, thiserror::Error)]
#[error("the account's server answered {status} {name}")]
pub(crate) struct SessionRefusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The name of the error; empty when there is none.
    pub(crate) name: String,
    /// The earliest next attempt, in seconds, if the server says.
    pub(crate) retry_after: Option<u32>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionCallError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Refused(#[from] SessionRefusal),
    #[error("the account's server gave no session that could be read")]
    Unreadable,
    #[error("the request could not be written")]
    Unwritable(#[source] BoxError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateSession<'a> {
    identifier: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_factor_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct XrpcError {
    error: Option<String>,
}

/// Shows a password to an origin, which must be the one that the account's DID document names now.
pub(crate) async fn create_session(
    http: &dyn HttpClient,
    pds: &str,
    did: &Did,
    password: &Secret,
    auth_factor_token: Option<&Secret>,
) -> Result<SessionAnswer, SessionCallError> {
    let body = CreateSession {
        identifier: did.as_str(),
        password: password.expose(),
        auth_factor_token: auth_factor_token.map(Secret::expose),
    };
    let body = serde_json::to_vec(&body).map_err(unwritable)?;
    // The bytes overwrite themselves when the last of their owners lets go.
    let body = Bytes::from_owner(zeroize::Zeroizing::new(body));
    let request = Request::post(format!("{pds}/xrpc/com.atproto.server.createSession"))
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(unwritable)?;
    read(&http.send(request, Purpose::Authorization).await?)
}

/// Renews a session. Sent once; within two hours the same refresh token brings the same successor again.
pub(crate) async fn refresh_session(
    http: &dyn HttpClient,
    pds: &str,
    refresh_token: &Secret,
) -> Result<SessionAnswer, SessionCallError> {
    let request = with_bearer(pds, "refreshSession", refresh_token).map_err(SessionCallError::Unwritable)?;
    read(&http.send(request, Purpose::Refresh).await?)
}

/// Ends a session at its server. Best effort, and bounded: the server may be the very one that misbehaves.
pub(crate) async fn delete_session(http: &dyn HttpClient, pds: &str, refresh_token: &Secret) {
    let request = match with_bearer(pds, "deleteSession", refresh_token) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(pds, %error, "an app-password session was not ended");
            return;
        }
    };
    match tokio::time::timeout(PATIENCE, http.send(request, Purpose::Authorization)).await {
        Ok(Ok(answer)) if answer.status().is_success() => tracing::debug!(pds, "an app-password session was ended"),
        Ok(Ok(answer)) => {
            tracing::warn!(pds, status = answer.status().as_u16(), "an app-password session was not ended");
        }
        Ok(Err(error)) => tracing::warn!(pds, %error, "an app-password session was not ended"),
        Err(_) => tracing::warn!(pds, "an app-password session was not ended in time"),
    }
}

fn with_bearer(pds: &str, method: &str, token: &Secret) -> Result<Request<Bytes>, BoxError> {
    let request = Request::post(format!("{pds}/xrpc/com.atproto.server.{method}"));
    Ok(request.header(AUTHORIZATION, bearer(token)?).body(Bytes::new())?)
}

/// The value of an `Authorization` header with a bearer token (RFC 6750 §2.1), kept out of logs.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(answer: &Response<Bytes>) -> Result<SessionAnswer, SessionCallError> {
    if answer.status() == StatusCode::OK {
        return serde_json::from_slice(answer.body()).map_err(|_| SessionCallError::Unreadable);
    }
    let error = serde_json::from_slice::<XrpcError>(answer.body()).ok().and_then(|body| body.error);
    // A name and nothing else: a server that writes a sentence there may quote what it was sent.
    let is_name = |name: &String| name.len() <= MAX_WORDS && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let refusal =
        SessionRefusal { status: answer.status(), name: error.filter(is_name).unwrap_or_default(), retry_after };
    Err(refusal.into())
}

fn unwritable(error: impl Into<BoxError>) -> SessionCallError {
    SessionCallError::Unwritable(error.into())
}
