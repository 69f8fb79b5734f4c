//! `GET /api/accounts/{id}`: an account of this device, by id, DID or handle (rows D-005, D-009).

use axum::extract::{Path, State};
use axum::response::Response;

use super::json_of;
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::SignedIn;
use crate::overview::{ListedAccount, Overview};

/// Finds an account of this device
///
/// By its id, its DID, or the handle that it had when it signed in last. Handles change hands: keep the id.
#[utoipa::path(
    get, path = "/api/accounts/{id}", tag = "Apps", operation_id = "findAccount",
    security(("cookie" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The account's id, its DID, or its handle")),
    responses(
        (status = 200, description = "The account", body = ListedAccount),
        (status = 401, description = "Nobody is signed in"),
        (status = 404, description = "Not on this device"),
        (status = 409, description = "Two accounts of this device had that handle, one after the other"),
    )
)]
pub(crate) async fn get(
    State(accounts): State<Accounts>,
    State(overview): State<Overview>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let account = accounts.look_up(&signed_in.device, &id).await?;
    Ok(json_of(&overview.one(&signed_in.device.session, &account).await?))
}
