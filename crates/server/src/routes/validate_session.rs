//! `GET /validate-session`: the older form of the session check (row A-015).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::json_of;
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::{CredentialFault, Presented};

const INVALID: &str = r#"{"valid":false}"#;

/// A good session.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValidateBody<'a> {
    /// Always true here.
    valid: bool,
    /// The active account's DID.
    did: &'a str,
    /// Its handle.
    handle: &'a str,
}

/// Checks the session
#[utoipa::path(
    get, path = "/validate-session", tag = "Apps", operation_id = "validateSession",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "The session is good", body = ValidateBody),
        (status = 401, description = "It is not: `{valid: false}`"),
    )
)]
pub(crate) async fn get(
    State(accounts): State<Accounts>,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, Response> {
    let answer = |fault: CredentialFault| fault.into_answer(INVALID, "session_invalid");
    let Presented(signed_in) = presented.map_err(answer)?;
    let active = accounts.active(&signed_in.device).await.map_err(|error| ApiError::from(error).into_response())?;
    let account = active.ok_or_else(|| answer(CredentialFault::Missing))?;
    Ok(json_of(&ValidateBody { valid: true, did: account.did.as_str(), handle: &account.handle }))
}
