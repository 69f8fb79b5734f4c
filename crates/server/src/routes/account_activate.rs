//! `POST /api/accounts/{id}/activate`: switches accounts without a new sign-in (row D-007).

use axum::extract::{Path, State};
use axum::response::Response;
use bowerbird_core::ports::Cas;

use super::json_of;
use crate::accounts::Accounts;
use crate::device_sessions::DeviceSessions;
use crate::error::ApiError;
use crate::extract::SignedIn;

/// Makes an account of this device the active one
#[utoipa::path(
    post, path = "/api/accounts/{id}/activate", tag = "Apps", operation_id = "activateAccount",
    security(("cookie" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The account's id, or its DID")),
    responses(
        (status = 200, description = "It is: `{success: true, id, did, handle}`"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The request may be forged"),
        (status = 404, description = "Not on this device"),
    )
)]
pub(crate) async fn post(
    State(accounts): State<Accounts>,
    State(devices): State<DeviceSessions>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let account = accounts.on_device(&signed_in.device, &id).await?;
    match devices.activate(&signed_in.device.session.id, account.id).await? {
        Cas::Done => Ok(json_of(&serde_json::json!({
            "success": true,
            "id": account.id,
            "did": account.did,
            "handle": account.handle,
        }))),
        Cas::Stale => Err(ApiError::account_not_found()),
    }
}
