//! What the buttons of the pages do, without script.

pub(crate) mod add;
pub(crate) mod app_password;
pub(crate) mod devices;
pub(crate) mod remove;
pub(crate) mod sign_out;
pub(crate) mod switch;

use std::sync::Arc;

use axum::response::Response;
use bowerbird_core::Account;
use bowerbird_core::ports::{Cas, StoreError};
use http::StatusCode;

use super::redirect;
use crate::accounts::Accounts;
use crate::device_sessions::LiveDevice;
use crate::error::ApiError;
use crate::extract::SignedInForm;

/// Back to the start page.
fn home() -> Response {
    redirect(StatusCode::SEE_OTHER, "/")
}

/// An error as a page with a way back.
fn as_page(error: ApiError) -> ApiError {
    error.with_action("/", "Back to the start page").negotiated("")
}

/// Does something to the account that a form names, then shows the start page. An account that is not on the device, or
/// that left it meanwhile, is the same 404.
async fn on_named_account<F>(
    accounts: &Accounts,
    submitted: &SignedInForm,
    act: impl FnOnce(Arc<LiveDevice>, Arc<Account>) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<Cas, StoreError>>,
{
    let acted = async {
        let device = &submitted.signed_in.device;
        let account = accounts.on_device(device, submitted.form.get("account")?.unwrap_or_default()).await?;
        Ok(act(Arc::clone(device), account).await?)
    };
    match acted.await {
        Ok(Cas::Done) => Ok(home()),
        Ok(Cas::Stale) => Err(as_page(ApiError::account_not_found())),
        Err(error) => Err(as_page(error)),
    }
}
