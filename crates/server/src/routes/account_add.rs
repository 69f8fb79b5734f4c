//! `POST /api/accounts`: another account for this device (row D-008).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bowerbird_core::{LoginPurpose, Timestamp};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{json_of, with_cookie};
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::{ClientAddress, SignedIn, read_json};
use crate::sign_in::{SignIns, Wanted};

/// Which account.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AddAccountBody {
    /// A handle, a DID, or the address of a server.
    #[schema(example = "alice.bsky.social")]
    handle: String,
    /// The path to return to.
    redirect: Option<String>,
    /// `login`, `consent`, `select_account`, `create` or `none`.
    prompt: Option<String>,
}

/// Where the person goes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddedAccountBody {
    /// The page of the authorization server to open, in the browser that made this call.
    auth_url: String,
    /// The handle, as it was verified.
    handle: Option<String>,
    /// Until when the person can come back, in milliseconds since 1970.
    #[schema(value_type = i64)]
    expires_at: Timestamp,
}

/// Begins to add an account to this device
///
/// The answer sets the login cookie; the page must be opened in the browser that has it.
#[utoipa::path(
    post, path = "/api/accounts", tag = "Apps", operation_id = "addAccount",
    security(("cookie" = []), ("bearer" = [])),
    request_body = AddAccountBody,
    responses(
        (status = 200, description = "Where to go", body = AddedAccountBody),
        (status = 400, description = "Not a handle, or not one that leads to a server"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The request may be forged"),
        (status = 409, description = "This device holds as many accounts as it may"),
        (status = 429, description = "Too many sign-ins"),
        (status = 502, description = "The account's server is at fault"),
    )
)]
pub(crate) async fn post(
    State(sign_ins): State<SignIns>,
    State(accounts): State<Accounts>,
    signed_in: SignedIn,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body: AddAccountBody = read_json(&headers, body).await?;
    accounts.check_place(&signed_in.device, &body.handle).await?;
    let wanted = Wanted {
        typed: &body.handle,
        prompt: body.prompt.as_deref(),
        return_to: body.redirect.as_deref(),
        purpose: LoginPurpose::AddAccount { device: signed_in.device.session.id.clone() },
    };
    let begun = sign_ins.begin(client, &headers, wanted).await?;
    let answer =
        AddedAccountBody { auth_url: begun.authorize_url.into(), handle: begun.handle, expires_at: begun.expires_at };
    Ok(with_cookie(json_of(&answer), begun.cookie))
}
