//! `POST /accounts/remove`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::Account;

use super::on_named_account;
use crate::accounts::Accounts;
use crate::device_sessions::LiveDevice;
use crate::error::ApiError;
use crate::extract::SignedInForm;
use crate::sign_out::Departures;

/// Takes an account off this device by form
#[utoipa::path(
    post, path = "/accounts/remove", tag = "Browsers", operation_id = "removeAccountByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf` and `account`"),
    responses(
        (status = 303, description = "To the start page"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
        (status = 404, description = "Not on this device"),
    )
)]
pub(crate) async fn post(
    State(accounts): State<Accounts>,
    State(departures): State<Departures>,
    submitted: SignedInForm,
) -> Result<Response, ApiError> {
    // When it was the last one, the start page takes away the cookie of a session that is over.
    let remove = async |device: Arc<LiveDevice>, account: Arc<Account>| departures.remove(&device, &account).await;
    on_named_account(&accounts, &submitted, remove).await
}
