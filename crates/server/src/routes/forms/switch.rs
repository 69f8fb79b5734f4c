//! `POST /accounts/switch`

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::Cas;

use super::{as_page, home};
use crate::accounts::Accounts;
use crate::device_sessions::DeviceSessions;
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
    SignedInForm { signed_in, form, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    let switch = async {
        let account = accounts.on_device(&signed_in.device, form.get("account")?.unwrap_or_default()).await?;
        match devices.activate(&signed_in.device.session.id, account.id).await? {
            Cas::Done => Ok(home()),
            Cas::Stale => Err(ApiError::account_not_found()),
        }
    };
    switch.await.map_err(as_page)
}
