//! `POST /api/auth/mobile-start`: an app, or its page, begins a sign-in by the older contract (rows ).

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
pub(crate) struct MobileStartedBody {
    /// Always true here.
    success: bool,
    /// The page of the authorization server, to be opened in the browser that made this call.
    auth_url: String,
}

/// Begins a sign-in for an app, by the older contract
///
/// With `code_challenge_method: "S256"` the app is given a code at the end, to be exchanged at `/api/auth/tokens` with the
/// verifier. With the challenge alone it is given the session itself (`session_token`, `did`, `handle`), unless the
/// operator has turned that off.
#[utoipa::path(
    post, path = "/api/auth/mobile-start", tag = "Apps", operation_id = "startMobileLogin",
    request_body = AppStartBody,
    responses(
        (status = 200, description = "Where to go", body = MobileStartedBody),
        (status = 400, description = "`{success: false, error}`: `Invalid handle`, `Missing code_challenge` or `Couldn't initiate login`; `message` has the reason"),
        (status = 403, description = "It came from a page of another site"),
        (status = 409, description = "The device of the session that was shown holds as many accounts as it may"),
        (status = 429, description = "Too many sign-ins"),
        (status = 503, description = "The database does not answer, or too many logins are under way"),
    )
)]
pub(crate) async fn post(request: AppRequest, body: Body) -> Result<Response, Response> {
    let begun = request
        .begin(body, "Please enter your handle", MobileConfig::by_mobile_start)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(json_and_cookie(&MobileStartedBody { success: true, auth_url: begun.auth_url.into() }, begun.cookie))
}

/// The contract knows three sentences, and 400 for all of them. Numbers that tell a client what to do stay.
fn refusal(error: &ApiError) -> Response {
    let words = match error.code {
        "invalid_handle" => "Invalid handle",
        "challenge_invalid" => "Missing code_challenge",
        _ => "Couldn't initiate login",
    };
    let status = match error.status {
        status @ (StatusCode::CONFLICT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE) => status,
        // Of the check against forgery; an account of a server that is not allowed is 403 elsewhere.
        status @ StatusCode::FORBIDDEN if error.code != "pds_not_allowed" => status,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({"success": false, "error": words, "message": error.message});
    documented_refusal(status, error, body)
}
