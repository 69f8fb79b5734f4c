//! `GET` and `POST /login`: sends a person to their authorization server (row A-016).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bowerbird_core::{LoginEnding, LoginPurpose};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use url::form_urlencoded;

use super::mobile_auth::start_of;
use super::{redirect, with_cookie};
use crate::accounts::Accounts;
use crate::csrf;
use crate::error::ApiError;
use crate::extract::{ClientAddress, CredentialFault, Form, Presented};
use crate::pages;
use crate::return_to::return_to;
use crate::sign_in::{SignIns, Wanted};
use crate::site::Site;

/// Starts a sign-in by link
#[utoipa::path(
    get, path = "/login", tag = "Browsers", operation_id = "startLogin",
    params(
        ("handle" = String, Query, description = "A handle, a DID, or the address of a server"),
        ("redirect" = Option<String>, Query, description = "The path to return to; anything but a path of this origin counts as `/`"),
        ("prompt" = Option<String>, Query, description = "login, consent, select_account, create or none"),
        ("mobile" = Option<String>, Query, description = "`true`: the end comes to an app; see `/mobile-auth`"),
        ("code_challenge" = Option<String>, Query, description = "Of an app: the S256 challenge of its verifier"),
        ("code_challenge_method" = Option<String>, Query, description = "Of an app: `S256`"),
        ("redirect_uri" = Option<String>, Query, description = "Of an app: where it waits, one of the addresses that the operator listed"),
        ("pwa" = Option<String>, Query, description = "`true`: the end is told to the page that opened this window"),
        ("origin" = Option<String>, Query, description = "The origin of that page: this one by itself, or one of `BOWERBIRD_CORS_ORIGINS`"),
    ),
    responses(
        (status = 302, description = "To the authorization server; sets the login cookie"),
        (status = 400, description = "Not a handle, or not one that leads to a server"),
        (status = 409, description = "This device holds as many accounts as it may"),
        (status = 429, description = "Too many sign-ins"),
        (status = 502, description = "The account's server is at fault"),
        (status = 503, description = "The database does not answer, or too many logins are under way"),
    )
)]
pub(crate) async fn get(
    State(sign_ins): State<SignIns>,
    State(site): State<Site>,
    State(accounts): State<Accounts>,
    ClientAddress(client): ClientAddress,
    presented: Result<Presented, CredentialFault>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let form = Form::parse(uri.query().unwrap_or_default().as_bytes());
    let begin = Begin { sign_ins, site, accounts, client, headers, presented };
    begin.answer(&form, StatusCode::FOUND).await
}

/// Starts a sign-in by form
#[utoipa::path(
    post, path = "/login", tag = "Browsers", operation_id = "startLoginByForm",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "The same fields as the link has"),
    responses(
        (status = 303, description = "To the authorization server; sets the login cookie"),
        (status = 400, description = "Not a handle, or not one that leads to a server"),
        (status = 403, description = "The form is one of another site"),
        (status = 409, description = "This device holds as many accounts as it may"),
        (status = 429, description = "Too many sign-ins"),
        (status = 502, description = "The account's server is at fault"),
        (status = 503, description = "The database does not answer, or too many logins are under way"),
    )
)]
pub(crate) async fn post(
    State(sign_ins): State<SignIns>,
    State(site): State<Site>,
    State(accounts): State<Accounts>,
    ClientAddress(client): ClientAddress,
    presented: Result<Presented, CredentialFault>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if !csrf::is_not_cross_site(&headers, &site) {
        return Err(csrf::check_origin(&headers, &site).err().unwrap_or_else(ApiError::not_found).negotiated(""));
    }
    let form = Form::read(&headers, body).await.map_err(|error| error.negotiated(""))?;
    let begin = Begin { sign_ins, site, accounts, client, headers, presented };
    begin.answer(&form, StatusCode::SEE_OTHER).await
}

struct Begin {
    sign_ins: SignIns,
    site: Site,
    accounts: Accounts,
    client: std::net::IpAddr,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
}

impl Begin {
    async fn answer(self, form: &Form, status: StatusCode) -> Result<Response, ApiError> {
        let typed = form.get("handle").ok().flatten().unwrap_or_default();
        let back = return_to(&self.site.base_url, form.get("redirect").ok().flatten());
        let page = app_page(form);
        let begun = self.begin(form, status).await;
        begun.map_err(|error| match page {
            Some(page) => error.with_action(page, "Back to the sign-in").negotiated(""),
            None => error.with_retry(typed, Some(&back)).negotiated(""),
        })
    }

    async fn begin(self, form: &Form, status: StatusCode) -> Result<Response, ApiError> {
        let ending = ending(&self.site, form)?;
        // A session that is over does not keep anybody from signing in; an unclear one does.
        let purpose = match self.presented {
            // The account is for the app, not for whoever is signed in in the browser that it borrows.
            Ok(_) if matches!(ending, LoginEnding::App(_)) => LoginPurpose::SignIn,
            Ok(Presented(signed_in)) => {
                self.accounts.check_place(&signed_in.device, form.get("handle")?.unwrap_or_default()).await?;
                LoginPurpose::AddAccount { device: signed_in.device.session.id.clone() }
            }
            Err(fault) => match fault.of_request() {
                Some(error) => return Err(error),
                None => LoginPurpose::SignIn,
            },
        };
        let wanted = Wanted {
            typed: form.get("handle")?.unwrap_or_default(),
            prompt: form.get("prompt")?,
            return_to: form.get("redirect")?,
            purpose,
        };
        let in_window = matches!(ending, LoginEnding::Opener { .. });
        let begun = self.sign_ins.begin_to(self.client, &self.headers, wanted, ending).await?;
        let response = with_cookie(redirect(status, begun.authorize_url.as_str()), begun.cookie);
        Ok(if in_window { pages::keep_opener(response) } else { response })
    }
}

/// Where the end goes: to the browser, to an app, or to the page that opened the window.
fn ending(site: &Site, form: &Form) -> Result<LoginEnding, ApiError> {
    let wants = |flow| Ok::<_, ApiError>(form.get(flow)? == Some("true"));
    match (wants("mobile")?, wants("pwa")?) {
        (false, false) => Ok(LoginEnding::Browser),
        (true, false) => Ok(LoginEnding::App(site.mobile.by_link(start_of(form)?)?)),
        (false, true) => {
            let origin = form.get("origin")?.unwrap_or(&site.origin);
            let admitted = HeaderValue::from_str(origin).is_ok_and(|origin| site.admits_origin(&origin));
            if admitted {
                return Ok(LoginEnding::Opener { origin: origin.to_owned() });
            }
            Err(ApiError::bad_request("origin_not_listed", "The result is not told to a page of that origin")
                .with_hint("The operator lists origins in BOWERBIRD_CORS_ORIGINS, exactly as browsers write them"))
        }
        (true, true) => Err(ApiError::bad_request("invalid_request", "`mobile` and `pwa` exclude each other")),
    }
}

/// The page that an app's form is on, to go back to with what it said; None for everything but an app's form.
fn app_page(form: &Form) -> Option<String> {
    if form.get("mobile").ok().flatten() != Some("true") {
        return None;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["handle", "code_challenge", "code_challenge_method", "redirect_uri", "prompt"] {
        if let Ok(Some(value)) = form.get(name) {
            query.append_pair(name, value);
        }
    }
    Some(format!("/mobile-auth?{}", query.finish()))
}
