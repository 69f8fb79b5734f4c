//! `POST /accounts/switch`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::Account;

use super::on_named_account;
use crate::accounts::Accounts;
use crate::device_sessions::{DeviceSessions, LiveDevice};
use crate::error::ApiError;
use crate::extract::SignedInForm;

/// Switches accounts by form
#[utoipa::path(
    post, path = "/accounts/switch", tag = "Browsers", operation_id = "switchAccountByForm",
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
    State(devices): State<DeviceSessions>,
    submitted: SignedInForm,
) -> Result<Response, ApiError> {
    let switch =
        async |device: Arc<LiveDevice>, account: Arc<Account>| devices.activate(&device.session.id, account.id).await;
    on_named_account(&accounts, &submitted, switch).await
}
