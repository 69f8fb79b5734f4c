//! `POST /api/auth/tokens`: an app exchanges its code, and later its refresh string (rows D-015, A-022).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bowerbird_core::Secret;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{documented_error, json_of};
use crate::csrf;
use crate::error::ApiError;
use crate::extract::read_json;
use crate::handoffs::{AppTokens, HandoffFault, Handoffs};
use crate::site::Site;

/// What is exchanged: a code, or a refresh string.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokensBody {
    /// The code that came to the app's address.
    #[schema(value_type = Option<String>)]
    code: Option<Secret>,
    /// The verifier of the challenge that the sign-in began with.
    #[serde(alias = "code_verifier")]
    #[schema(value_type = Option<String>)]
    code_verifier: Option<Secret>,
    /// The refresh string of the last exchange, instead of a code.
    #[serde(alias = "refresh_token")]
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Secret>,
}

/// What an app keeps. None of it is a token of the account's server.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppTokensBody<'a> {
    /// A seal for the next calls, as bearer.
    access_token: &'a str,
    /// What the next exchange is made with. This one stays valid until its successor is used for the first time.
    refresh_token: &'a str,
    /// The account's handle.
    handle: &'a str,
    /// Its DID.
    did: &'a str,
    /// The address of its server.
    pds: &'a str,
    /// Seconds that `accessToken` lasts.
    expires_in: i64,
    /// A seal for the whole life of the session, for an app that keeps a cookie named `sid`.
    sid: &'a str,
}

/// Exchanges a code, or a refresh string, for a session
///
/// A code lasts 60 seconds and works once; three wrong verifiers burn it. A refresh string has one successor, and may be
/// presented again until that one is: an answer that got lost costs nothing. Whoever presents it later holds a copy, and
/// the session ends.
#[utoipa::path(
    post, path = "/api/auth/tokens", tag = "Apps", operation_id = "exchangeTokens",
    request_body = TokensBody,
    responses(
        (status = 200, description = "The session", body = AppTokensBody),
        (status = 400, description = "`{error: \"Invalid or expired code\"}`: the code is unknown, used or too old, or the verifier is not its own"),
        (status = 401, description = "`{error: \"Invalid or expired refresh token\", reason}`; reason is session_invalid or refresh_token_reused"),
        (status = 403, description = "It came from a page of another site"),
        (status = 409, description = "The app's device holds as many accounts as it may"),
        (status = 500, description = "`{error: \"Token exchange failed\"}`: the database does not answer"),
    )
)]
pub(crate) async fn post(
    State(handoffs): State<Handoffs>,
    State(site): State<Site>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    csrf::check_not_cross_site(&headers, &site).map_err(|error| worded(&error))?;
    let body: TokensBody = read_json(&headers, body).await.map_err(|error| worded(&error))?;
    let given = |secret: &Option<Secret>| secret.as_ref().filter(|secret| !secret.is_empty()).cloned();
    let verifier = given(&body.code_verifier);
    let exchanged = match (given(&body.code), given(&body.refresh_token)) {
        (Some(code), None) => handoffs.redeem(code.expose(), verifier.as_ref().map(Secret::expose)).await,
        (None, Some(renewal)) => handoffs.renew(renewal.expose()).await,
        (None, None) => return Err(worded(&ApiError::bad_request("invalid_request", "Code is required"))),
        (Some(_), Some(_)) => {
            let message = "Send a code or a refresh token, not both";
            return Err(worded(&ApiError::bad_request("invalid_request", message)));
        }
    };
    exchanged.map(|tokens| answer(&tokens)).map_err(refusal)
}

fn answer(tokens: &AppTokens) -> Response {
    json_of(&AppTokensBody {
        access_token: tokens.access.expose(),
        refresh_token: tokens.renewal.expose(),
        handle: &tokens.account.handle,
        did: tokens.account.did.as_str(),
        pds: &tokens.account.pds,
        expires_in: tokens.access.max_age,
        sid: tokens.seal.expose(),
    })
}

fn worded(error: &ApiError) -> Response {
    documented_error(error.status, error.code, &json!({"error": error.message}))
}

fn refusal(fault: HandoffFault) -> Response {
    let code = fault_code(&fault);
    let of_code = |message: &str| {
        let body = json!({"error": "Invalid or expired code", "message": message});
        documented_error(StatusCode::BAD_REQUEST, code, &body)
    };
    match fault {
        HandoffFault::Code => of_code("The code is unknown, was used, or is older than 60 seconds"),
        HandoffFault::Verifier { left: 0 } => of_code("That was the third wrong code_verifier; the code is void"),
        HandoffFault::Verifier { .. } => {
            of_code("The code_verifier is not the one whose challenge the sign-in began with")
        }
        HandoffFault::Renewal | HandoffFault::Reused => {
            let body = json!({"error": "Invalid or expired refresh token", "reason": code});
            documented_error(StatusCode::UNAUTHORIZED, code, &body)
        }
        HandoffFault::Full => worded(&ApiError::too_many_accounts()),
        HandoffFault::Store(error) => {
            tracing::warn!(%error, "an app's exchange failed");
            documented_error(StatusCode::INTERNAL_SERVER_ERROR, code, &json!({"error": "Token exchange failed"}))
        }
    }
}

/// The stable code of the header.
const fn fault_code(fault: &HandoffFault) -> &'static str {
    match fault {
        HandoffFault::Code => "code_invalid",
        HandoffFault::Verifier { .. } => "code_verifier_mismatch",
        HandoffFault::Full => "too_many_accounts",
        HandoffFault::Renewal => "session_invalid",
        HandoffFault::Reused => "refresh_token_reused",
        HandoffFault::Store(_) => "store_unavailable",
    }
}
