//! `GET /`: the start page.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::Clock;
use http::HeaderMap;
use std::sync::Arc;

use super::with_cookie;
use crate::accounts::Accounts;
use crate::cookies;
use crate::csrf;
use crate::error::ApiError;
use crate::extract::{CredentialFault, Presented, SignedIn};
use crate::overview::Overview;
use crate::pages::{self, AccountsPage};
use crate::seals::Seals;
use crate::site::Site;

/// The start page
///
/// The sign-in form, or the accounts of this device.
#[utoipa::path(
    get, path = "/", tag = "Browsers", operation_id = "startPage",
    responses((status = 200, description = "A page"), (status = 400, description = "The session cookie was sent twice"))
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(accounts): State<Accounts>,
    State(overview): State<Overview>,
    State(seals): State<Seals>,
    State(clock): State<Arc<dyn Clock>>,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, ApiError> {
    let SignedIn { device, via, is_brief } = match presented {
        Ok(Presented(signed_in)) => signed_in,
        Err(fault) if fault.is_signed_out() => return Ok(signed_out(&site, &headers, None)),
        Err(CredentialFault::Store(error)) => return Err(ApiError::from(error).negotiated("")),
        Err(fault) => return Ok(fault.into_response()),
    };
    let page = async {
        let Some(active) = accounts.active(&device).await? else { return Ok(None) };
        let listed = overview.of(&device).await?;
        let fresh = seals.renew(&device.session, &active);
        let content = AccountsPage {
            accounts: &listed,
            csrf: &csrf::form_token(&device.session.id),
            now: clock.now(),
            expires_at: fresh.expires_at,
            // A minute less, since the seal may be the one made for the last request.
            renews: fresh.expires_at.millis_since(clock.now()) >= (site.session_ttl - 60) * 1000,
        };
        let page = pages::accounts_page(&site, &content);
        let cookie = via.cookie().filter(|_| !is_brief).and_then(|name| fresh.cookie(&site, name));
        Ok::<_, ApiError>(page.map(|page| match cookie {
            Some(cookie) => with_cookie(page, cookie),
            None => page,
        }))
    };
    let page = page.await.map_err(|error| error.negotiated(""))?;
    Ok(page.unwrap_or_else(|| signed_out(&site, &headers, None)))
}

/// The sign-in form, and no cookie of a session that is over.
pub(super) fn signed_out(site: &Site, headers: &HeaderMap, return_to: Option<&str>) -> Response {
    let page = pages::sign_in_page(site, return_to);
    match cookies::session_cookie(headers, site) {
        Ok(Some((name, _))) => with_cookie(page, cookies::clear_session(site, name)),
        _ => page,
    }
}
