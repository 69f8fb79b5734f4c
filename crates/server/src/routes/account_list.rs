//! `GET /api/accounts`: the accounts of this device (row D-005).

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json_of;
use crate::error::ApiError;
use crate::extract::SignedIn;
use crate::overview::{ListedAccount, Overview};

/// The accounts of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountsBody {
    /// Oldest first.
    accounts: Vec<ListedAccount>,
}

/// Lists the accounts of this device
#[utoipa::path(
    get, path = "/api/accounts", tag = "Apps", operation_id = "listAccounts",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "The accounts", body = AccountsBody),
        (status = 401, description = "Nobody is signed in"),
    )
)]
pub(crate) async fn get(State(overview): State<Overview>, signed_in: SignedIn) -> Result<Response, ApiError> {
    Ok(json_of(&AccountsBody { accounts: overview.of(&signed_in.device).await? }))
}
