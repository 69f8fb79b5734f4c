//! `GET` and `POST /login`: sends a person to their authorization server (row A-016).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bowerbird_core::LoginPurpose;
use http::{HeaderMap, StatusCode, Uri};

use super::{redirect, with_cookie};
use crate::accounts::Accounts;
use crate::csrf;
use crate::error::ApiError;
use crate::extract::{ClientAddress, CredentialFault, Form, Presented};
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
        self.begin(form, status).await.map_err(|error| error.with_retry(typed, Some(&back)).negotiated(""))
    }

    async fn begin(self, form: &Form, status: StatusCode) -> Result<Response, ApiError> {
        for flow in ["mobile", "pwa"] {
            if form.get(flow)? == Some("true") {
                let message = format!("`{flow}=true` is not available on this server");
                return Err(ApiError::bad_request("flow_not_available", message));
            }
        }
        // A session that is over does not keep anybody from signing in; an unclear one does.
        let purpose = match self.presented {
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
        let begun = self.sign_ins.begin(self.client, &self.headers, wanted).await?;
        Ok(with_cookie(redirect(status, begun.authorize_url.as_str()), begun.cookie))
    }
}
