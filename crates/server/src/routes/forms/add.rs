//! `POST /accounts/add`

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::LoginPurpose;
use http::StatusCode;

use super::super::{redirect, with_cookie};
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::{ClientAddress, SignedInForm};
use crate::sign_in::{SignIns, Wanted};

/// Begins to add an account by form
#[utoipa::path(
    post, path = "/accounts/add", tag = "Browsers", operation_id = "addAccountByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf` and `handle`"),
    responses(
        (status = 303, description = "To the authorization server; sets the login cookie"),
        (status = 400, description = "Not a handle, or not one that leads to a server"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
        (status = 409, description = "This device holds as many accounts as it may"),
        (status = 429, description = "Too many sign-ins"),
        (status = 502, description = "The account's server is at fault"),
    )
)]
pub(crate) async fn post(
    State(sign_ins): State<SignIns>,
    State(accounts): State<Accounts>,
    ClientAddress(client): ClientAddress,
    SignedInForm { signed_in, form, headers }: SignedInForm,
) -> Result<Response, ApiError> {
    let begin = async {
        let typed = form.get("handle")?.unwrap_or_default();
        accounts.check_place(&signed_in.device, typed).await?;
        let wanted = Wanted {
            typed,
            prompt: None,
            return_to: None,
            purpose: LoginPurpose::AddAccount { device: signed_in.device.session.id.clone() },
        };
        sign_ins.begin(client, &headers, wanted).await
    };
    let typed = form.get("handle").ok().flatten().unwrap_or_default();
    let begun = begin.await.map_err(|error| error.with_retry(typed, None).negotiated(""))?;
    Ok(with_cookie(redirect(StatusCode::SEE_OTHER, begun.authorize_url.as_str()), begun.cookie))
}
