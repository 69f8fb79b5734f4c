//! `POST /accounts/app-password`

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::Secret;
use http::StatusCode;

use super::super::{redirect, with_cookie};
use crate::app_password_sign_in::{AppPasswordSignIns, Arrived, Asking, Given};
use crate::cookies::{self, SessionCookieName};
use crate::csrf;
use crate::device_name::device_name;
use crate::error::{ApiError, RetryAppPassword};
use crate::extract::{AnybodysForm, ClientAddress, Form};
use crate::return_to::return_to;
use crate::seals::Seals;
use crate::site::Site;

/// Signs an account in with an app password by form
#[utoipa::path(
    post, path = "/accounts/app-password", tag = "Browsers", operation_id = "signInWithAppPasswordByForm",
    security((), ("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "`identifier`, `password`, `authFactorToken`, `redirect`; with a session also `csrf`"),
    responses(
        (status = 303, description = "Signed in; to the start page or `redirect`, with a new session cookie"),
        (status = 400, description = "Not a handle or DID, or not one that leads to a server"),
        (status = 401, description = "The password is wrong or the account's main one, or a code is needed"),
        (status = 403, description = "The form may be forged, app passwords are turned off, or the account's server is not allowed"),
        (status = 409, description = "The account is connected by OAuth, which is better, or this device holds as many accounts as it may"),
        (status = 429, description = "Too many attempts for this account, from this network, or on this server"),
        (status = 502, description = "The account's server is at fault"),
        (status = 503, description = "The database does not answer"),
    )
)]
pub(crate) async fn post(
    State(sign_ins): State<AppPasswordSignIns>,
    State(seals): State<Seals>,
    State(site): State<Site>,
    ClientAddress(client): ClientAddress,
    AnybodysForm { signed_in, form, headers }: AnybodysForm,
) -> Result<Response, ApiError> {
    let device = signed_in.map(|signed_in| signed_in.device.session.id.clone());
    let csrf = device.as_ref().map(csrf::form_token);
    let back = return_to(&site.base_url, form.get("redirect").ok().flatten());
    let arrived = sign_in(&sign_ins, Asking { client, device, device_name: device_name(&headers) }, &form).await;
    let Arrived { account, session } = arrived.map_err(|error| {
        let typed = form.get("identifier").ok().flatten().unwrap_or_default();
        // The form again, but never the password.
        let again = RetryAppPassword { csrf, wants_code: error.code.starts_with("auth_factor_token_") };
        let error = error.with_retry(typed, Some(&back));
        if sign_ins.check_turned_on().is_ok() { error.with_retry_app_password(again) } else { error }.negotiated("")
    })?;
    let name = SessionCookieName::of(&site);
    let seal = seals.renew(&session, &account);
    let cookie = seal.cookie(&site, name).ok_or_else(|| ApiError::internal("the seal is not a header value"))?;
    let mut response = redirect(StatusCode::SEE_OTHER, &back);
    let planted = matches!(cookies::session_cookie(&headers, &site), Ok(Some((SessionCookieName::Plain, _))));
    if planted && name != SessionCookieName::Plain {
        // As after every sign-in: else an older seal would come along with later requests.
        response = with_cookie(response, cookies::clear_session(&site, SessionCookieName::Plain));
    }
    Ok(with_cookie(response, cookie))
}

async fn sign_in(sign_ins: &AppPasswordSignIns, asking: Asking, form: &Form) -> Result<Arrived, ApiError> {
    let given = Given {
        identifier: form.get("identifier")?.unwrap_or_default(),
        password: Secret::new(form.get("password")?.unwrap_or_default()),
        auth_factor_token: form.get("authFactorToken")?.map(Secret::new),
    };
    sign_ins.sign_in(asking, given).await
}
