//! `POST /api/auth/start`: an app begins a sign-in (row D-013).

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{documented_refusal, json_and_cookie};
use crate::app_start::{AppRequest, AppStartBody};
use crate::error::ApiError;
use crate::mobile::MobileConfig;

/// Where the person goes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthStartedBody {
    /// The page of the authorization server, to be opened in the system's browser.
    auth_url: String,
    /// The handle, as it was verified; null when the sign-in began with a DID or a server.
    handle: Option<String>,
}

/// Begins a sign-in for an app
///
/// The end of it comes to the app's address as `?code=…`, to be exchanged at `/api/auth/tokens` within 60 seconds; or as
/// `?error=…&error_description=…`. Send the S256 challenge of a fresh verifier: then nobody else can exchange the code. An
/// app that shows its session (as bearer, or as cookie when it is no browser) adds an account to it.
#[utoipa::path(
    post, path = "/api/auth/start", tag = "Apps", operation_id = "startAppLogin",
    request_body = AppStartBody,
    responses(
        (status = 200, description = "Where to go", body = AuthStartedBody),
        (status = 400, description = "`{error}`: `Handle is required`, a handle that leads nowhere, an address that the operator did not list, or an account of a server that is not allowed"),
        (status = 403, description = "It came from a page of another site"),
        (status = 409, description = "The device of the session that was shown holds as many accounts as it may"),
        (status = 429, description = "`{error}`: too many sign-ins"),
        (status = 502, description = "`{error}`: the account's server is at fault"),
        (status = 503, description = "`{error}`: the database does not answer, or too many logins are under way"),
    )
)]
pub(crate) async fn post(request: AppRequest, body: Body) -> Result<Response, Response> {
    let begun =
        request.begin(body, "Handle is required", MobileConfig::by_start).await.map_err(|error| refusal(&error))?;
    Ok(json_and_cookie(&AuthStartedBody { auth_url: begun.auth_url.into(), handle: begun.handle }, begun.cookie))
}

/// The contract has a sentence in `error`. An account of a server that is not allowed is 400 there.
fn refusal(error: &ApiError) -> Response {
    let status = if error.code == "pds_not_allowed" { StatusCode::BAD_REQUEST } else { error.status };
    let body = json!({"error": error.message});
    documented_refusal(status, error, body)
}
