//! `GET /mobile-auth`: the page that an app opens in the system's browser (row A-001).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::Entropy;
use http::{HeaderMap, HeaderName, Uri};

use crate::error::ApiError;
use crate::extract::Form;
use crate::mobile::AppStart;
use crate::pages::{self, MobileAuthPage};
use crate::site::Site;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The page that an app opens to sign somebody in
///
/// It asks for the handle, names the app, and goes on to the account's server; the end comes to the app's address. Begin
/// with the S256 challenge of your own verifier: then that address gets a code which is of use to your app alone. Without a
/// challenge the page follows the older contract.
#[utoipa::path(
    get, path = "/mobile-auth", tag = "Browsers", operation_id = "mobileAuth",
    params(
        ("handle" = Option<String>, Query, description = "To be filled in"),
        ("code_challenge" = Option<String>, Query, description = "The S256 challenge of the app's own verifier"),
        ("code_challenge_method" = Option<String>, Query, description = "`S256`"),
        ("redirect_uri" = Option<String>, Query, description = "Where the app waits: one of the addresses that the operator listed"),
        ("prompt" = Option<String>, Query, description = "login, consent, select_account, create or none"),
    ),
    responses(
        (status = 200, description = "A page"),
        (status = 400, description = "A challenge that is none, or an address that the operator did not list"),
    )
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(entropy): State<Arc<dyn Entropy>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let form = Form::parse(uri.query().unwrap_or_default().as_bytes());
    let from_elsewhere = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
    let content = content(&site, &form, from_elsewhere).map_err(|error| error.negotiated(""))?;
    Ok(pages::mobile_auth_page(&site, entropy.as_ref(), &content))
}

fn content<'a>(site: &Site, form: &'a Form, from_elsewhere: bool) -> Result<MobileAuthPage<'a>, ApiError> {
    let start = start_of(form)?;
    // What cannot end well is said before anybody signs in.
    site.mobile.by_link(start)?;
    let named = [
        ("code_challenge", start.code_challenge),
        ("code_challenge_method", start.code_challenge_method),
        ("redirect_uri", start.redirect_uri),
        ("prompt", form.get("prompt")?),
    ];
    let hidden = named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(MobileAuthPage { typed: form.get("handle")?.unwrap_or_default(), hidden, from_elsewhere })
}

/// What an app says of itself in a link or a form.
pub(crate) fn start_of(form: &Form) -> Result<AppStart<'_>, ApiError> {
    Ok(AppStart {
        code_challenge: form.get("code_challenge")?,
        code_challenge_method: form.get("code_challenge_method")?,
        redirect_uri: form.get("redirect_uri")?,
    })
}
