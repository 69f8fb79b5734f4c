//! `GET /api/devices`: where the accounts of this device are signed in.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json_of;
use crate::device_sessions::DeviceSessions;
use crate::devices::{self, ListedDevice};
use crate::error::ApiError;
use crate::extract::NamedAccounts;

/// The devices of some accounts.
#[derive(Serialize, ToSchema)]
pub(crate) struct DevicesBody {
    /// This one first, then the one used last; a hundred at most.
    devices: Vec<ListedDevice>,
    /// How many there are.
    total: usize,
}

/// Lists the devices on which the accounts of this device are signed in
///
/// Of another device nothing is told of accounts that are not signed in here.
#[utoipa::path(
    get, path = "/api/devices", tag = "Apps", operation_id = "listDevices",
    security(("cookie" = []), ("bearer" = [])),
    params(("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of one account of this device; all of them without it")),
    responses(
        (status = 200, description = "The devices", body = DevicesBody),
        (status = 401, description = "Nobody is signed in"),
        (status = 404, description = "The account is not on this device"),
    )
)]
pub(crate) async fn get(
    State(sessions): State<DeviceSessions>,
    NamedAccounts { signed_in, accounts }: NamedAccounts,
) -> Result<Response, ApiError> {
    let list = devices::list(&sessions, &signed_in.device, &accounts).await?;
    Ok(json_of(&DevicesBody { devices: list.devices, total: list.total }))
}
