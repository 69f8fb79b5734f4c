//! `POST /api/accounts/app-password`: an account that signs in with an app password (row D-010).

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::Secret;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{json_of, with_cookie};
use crate::app_password_sign_in::{AppPasswordSignIns, Asking, Given};
use crate::cookies::SessionCookieName;
use crate::csrf;
use crate::device_name::device_name;
use crate::error::ApiError;
use crate::extract::{ClientAddress, CredentialFault, Presented, SignedIn, Via, read_json};
use crate::overview::{ListedAccount, Overview};
use crate::seals::Seals;
use crate::site::Site;

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppPasswordBody {
    /// A handle or a DID.
    #[schema(example = "alice.bsky.social")]
    identifier: String,
    /// An app password. It is sent to the account's own server and kept nowhere.
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// The code that the account's server sent by mail, when it asks for one.
    #[schema(value_type = Option<String>)]
    auth_factor_token: Option<Secret>,
}

/// The account, as the list shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignedInAccountBody {
    #[serde(flatten)]
    account: ListedAccount,
    /// The new seal of a client that showed its seal as a bearer; the one that it showed is dead. Others get a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    seal: Option<String>,
}

/// Signs an account in with an app password
///
/// On this device when there is a session, else on a new one. Turned off unless `BOWERBIRD_APP_PASSWORDS` is `true`.
/// Sign-in by OAuth is better: it needs no password here. A request without a bearer needs `Bowerbird-CSRF: 1`.
#[utoipa::path(
    post, path = "/api/accounts/app-password", tag = "Apps", operation_id = "signInWithAppPassword",
    security((), ("cookie" = []), ("bearer" = [])),
    request_body = AppPasswordBody,
    responses(
        (status = 200, description = "Signed in; with a new session cookie, or a new seal for a bearer", body = SignedInAccountBody),
        (status = 400, description = "Not a handle or DID, or not one that leads to a server"),
        (status = 401, description = "The password is wrong or the account's main one, a code is needed, or the bearer is no good"),
        (status = 403, description = "The request may be forged, app passwords are turned off, or the account's server is not allowed"),
        (status = 409, description = "The account is connected by OAuth, which is better, or this device holds as many accounts as it may"),
        (status = 429, description = "Too many attempts for this account, from this network, or on this server"),
        (status = 502, description = "The account's server is at fault"),
        (status = 503, description = "The database does not answer"),
    )
)]
#[expect(clippy::too_many_arguments, reason = "each is a piece of the server")]
pub(crate) async fn post(
    State(sign_ins): State<AppPasswordSignIns>,
    State(overview): State<Overview>,
    State(seals): State<Seals>,
    State(site): State<Site>,
    ClientAddress(client): ClientAddress,
    presented: Result<Presented, CredentialFault>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let present = match presented {
        Ok(Presented(signed_in)) => Some(signed_in),
        Err(fault) if fault.is_of_bearer() || !fault.is_signed_out() => return Ok(fault.into_response()),
        // A cookie whose session is over keeps nobody from signing in.
        Err(_) => None,
    };
    let via = present.as_ref().map(|signed_in| signed_in.via);
    match via {
        Some(Via::Bearer) => {}
        Some(Via::Cookie(_)) => csrf::check_header(&headers, &site)?,
        None => csrf::check_header_of_anybody(&headers, &site)?,
    }
    sign_ins.check_turned_on()?;
    let body: AppPasswordBody = read_json(&headers, body).await?;
    let asking = Asking {
        client,
        device: present.as_ref().map(|SignedIn { device, .. }| device.session.id.clone()),
        device_name: device_name(&headers),
    };
    let given = Given {
        identifier: &body.identifier,
        password: body.password,
        auth_factor_token: body.auth_factor_token.filter(|code| !code.is_empty()),
    };
    let arrived = sign_ins.sign_in(asking, given).await?;

    let account = overview.one(&arrived.session, &arrived.account).await?;
    let fresh = seals.renew(&arrived.session, &arrived.account);
    if via == Some(Via::Bearer) {
        return Ok(json_of(&SignedInAccountBody { account, seal: Some(fresh.expose().to_owned()) }));
    }
    let name = via.and_then(Via::cookie).unwrap_or_else(|| SessionCookieName::of(&site));
    let cookie = fresh.cookie(&site, name).ok_or_else(|| ApiError::internal("the seal is not a header value"))?;
    Ok(with_cookie(json_of(&SignedInAccountBody { account, seal: None }), cookie))
}
