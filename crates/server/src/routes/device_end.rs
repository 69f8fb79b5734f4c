//! `DELETE /api/devices/{device}` and `POST /api/devices/sign-out`: signing out from afar.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bowerbird_core::Account;
use bowerbird_core::ports::Cas;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{json, json_of, without_session};
use crate::devices::device_tag;
use crate::error::ApiError;
use crate::extract::{NamedAccounts, SignedIn, read_json};
use crate::sign_out::{Departures, Which};
use crate::site::Site;

/// Signs the accounts of this device out of one device
///
/// Accounts on that device that are not signed in here stay there. The last device of an account gives its grant back.
#[utoipa::path(
    delete, path = "/api/devices/{device}", tag = "Apps", operation_id = "signOutDevice",
    security(("cookie" = []), ("bearer" = [])),
    params(
        ("device" = String, Path, description = "The `id` of the device in the list"),
        ("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of one account of this device; all of them without it"),
    ),
    responses(
        (status = 200, description = "They are signed out there: `{success: true}`"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The request may be forged"),
        (status = 404, description = "No such device, or none of these accounts is on it"),
    )
)]
pub(crate) async fn delete(
    State(departures): State<Departures>,
    State(site): State<Site>,
    NamedAccounts { signed_in, accounts }: NamedAccounts,
    Path(device): Path<String>,
) -> Result<Response, ApiError> {
    let is_here = device == device_tag(&signed_in.device.session.id);
    let ends_here = is_here && takes_all(&signed_in, &accounts);
    if departures.end_device(&signed_in.device, accounts, &device).await? == Cas::Stale {
        return Err(ApiError::device_not_found());
    }
    let response = json(r#"{"success":true}"#);
    Ok(if ends_here { without_session(response, signed_in.via, &site) } else { response })
}

/// Which devices.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SignOutBody {
    which: WhichDevices,
}

/// Which devices.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhichDevices {
    /// All but this one.
    Others,
    /// This one too.
    All,
}

impl From<WhichDevices> for Which {
    fn from(which: WhichDevices) -> Self {
        match which {
            WhichDevices::Others => Self::Others,
            WhichDevices::All => Self::All,
        }
    }
}

/// How many devices were left.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedOutBody {
    /// Always true here.
    success: bool,
    /// The devices that the accounts were taken off.
    ended: u64,
}

/// Signs the accounts of this device out of all other devices, or of all
///
/// Accounts that are not signed in here stay where they are.
#[utoipa::path(
    post, path = "/api/devices/sign-out", tag = "Apps", operation_id = "signOutDevices",
    security(("cookie" = []), ("bearer" = [])),
    params(("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of one account of this device; all of them without it")),
    request_body = SignOutBody,
    responses(
        (status = 200, description = "They are signed out there", body = SignedOutBody),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The request may be forged"),
        (status = 404, description = "The account is not on this device"),
        (status = 503, description = "The database does not answer, or devices sign in faster than they are signed out"),
    )
)]
pub(crate) async fn post(
    State(departures): State<Departures>,
    State(site): State<Site>,
    NamedAccounts { signed_in, accounts }: NamedAccounts,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let which = Which::from(read_json::<SignOutBody>(&headers, body).await?.which);
    let ends_here = which == Which::All && takes_all(&signed_in, &accounts);
    let ended = departures.end_devices(&signed_in.device, accounts, which).await?;
    let response = json_of(&SignedOutBody { success: true, ended });
    Ok(if ends_here { without_session(response, signed_in.via, &site) } else { response })
}

/// Whether these are all accounts of the device that asks.
fn takes_all(signed_in: &SignedIn, accounts: &[Arc<Account>]) -> bool {
    let mut held = signed_in.device.session.accounts.iter();
    held.all(|entry| accounts.iter().any(|account| account.id == entry.account))
}
