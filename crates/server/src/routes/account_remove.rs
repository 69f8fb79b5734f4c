//! `DELETE /api/accounts/{id}`: takes one account off this device (row D-011).

use axum::extract::{Path, State};
use axum::response::Response;
use bowerbird_core::ports::Cas;

use super::{json, without_session};
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::SignedIn;
use crate::sign_out::Departures;
use crate::site::Site;

/// Takes an account off this device
///
/// The last account takes the session with it. The last device of an account gives its grant back.
#[utoipa::path(
    delete, path = "/api/accounts/{id}", tag = "Apps", operation_id = "removeAccount",
    security(("cookie" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The account's id, or its DID")),
    responses(
        (status = 200, description = "It is off: `{success: true}`"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The request may be forged"),
        (status = 404, description = "Not on this device"),
    )
)]
pub(crate) async fn delete(
    State(accounts): State<Accounts>,
    State(departures): State<Departures>,
    State(site): State<Site>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let SignedIn { device, via, .. } = signed_in;
    let account = accounts.on_device(&device, &id).await?;
    if departures.remove(&device, &account).await? == Cas::Stale {
        return Err(ApiError::account_not_found());
    }
    let response = json(r#"{"success":true}"#);
    let ends_here = Departures::is_last(&device, account.id);
    Ok(if ends_here { without_session(response, via, &site) } else { response })
}
