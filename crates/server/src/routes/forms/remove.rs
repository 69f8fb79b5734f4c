//! `POST /accounts/remove`

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::Cas;

use super::{as_page, home};
use crate::accounts::Accounts;
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
    SignedInForm { signed_in, form, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    let remove = async {
        let account = accounts.on_device(&signed_in.device, form.get("account")?.unwrap_or_default()).await?;
        match departures.remove(&signed_in.device, &account).await? {
            // The start page takes away a cookie whose session is over.
            Cas::Done => Ok(home()),
            Cas::Stale => Err(ApiError::account_not_found()),
        }
    };
    remove.await.map_err(as_page)
}
