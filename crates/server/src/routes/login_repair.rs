//! `GET /login/repair/{account_id}`: new consent for an account whose grant is gone.

use axum::extract::{Path, State};
use axum::response::Response;
use bowerbird_core::AccountId;
use http::{HeaderMap, StatusCode};

use super::{redirect, with_cookie};
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::{ClientAddress, CredentialFault, Presented};
use crate::sign_in::SignIns;

/// Repairs an account
///
/// No other account can come back from it. The link works without a session too: it is sent to people whose session is
/// over, and the account's id cannot be guessed.
#[utoipa::path(
    get, path = "/login/repair/{account_id}", tag = "Browsers", operation_id = "repairAccount",
    params(("account_id" = String, Path, description = "The account's id", format = Uuid)),
    responses(
        (status = 302, description = "To the account's authorization server; sets the login cookie"),
        (status = 404, description = "There is no such account, or it is not on this device"),
        (status = 429, description = "Too many sign-ins"),
        (status = 502, description = "The account's server is at fault"),
    )
)]
pub(crate) async fn get(
    State(sign_ins): State<SignIns>,
    State(accounts): State<Accounts>,
    ClientAddress(client): ClientAddress,
    presented: Result<Presented, CredentialFault>,
    Path(account_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let begin = async {
        let device = match presented {
            Ok(Presented(signed_in)) => Some(signed_in.device),
            Err(fault) => match fault.of_request() {
                Some(error) => return Err(error),
                None => None,
            },
        };
        let account = if let Some(device) = &device {
            accounts.on_device(device, &account_id).await?
        } else {
            let id = AccountId::parse(&account_id).map_err(|_| ApiError::account_not_found())?;
            accounts.find(id).await?.ok_or_else(ApiError::account_not_found)?
        };
        let device = device.map(|device| device.session.id.clone());
        sign_ins.begin_repair(client, &headers, account.id, device).await
    };
    let begun = begin.await.map_err(|error| error.with_action("/", "Back to the start page").negotiated(""))?;
    Ok(with_cookie(redirect(StatusCode::FOUND, begun.authorize_url.as_str()), begun.cookie))
}
