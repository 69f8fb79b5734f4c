//! An app begins a sign-in: by itself, or by a page of ours that it opened.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{FromRef as _, FromRequestParts};
use bowerbird_core::{AppReturn, LoginEnding, LoginPurpose};
use http::request::Parts as RequestParts;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::accounts::Accounts;
use crate::csrf;
use crate::error::ApiError;
use crate::extract::{ClientAddress, CredentialFault, Presented, Via, read_json};
use crate::mobile::{AppStart, MobileConfig};
use crate::parts::Parts;
use crate::sign_in::{SignIns, Wanted};
use crate::site::Site;

/// What an app sends to begin. Values of another type than text count as missing.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct AppStartBody {
    /// A handle, a DID, or the address of a server.
    #[serde(default)]
    #[schema(value_type = String, example = "alice.bsky.social")]
    handle: Value,
    /// The S256 challenge of the app's own verifier (RFC 7636).
    #[serde(default, alias = "codeChallenge")]
    #[schema(value_type = Option<String>, example = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")]
    code_challenge: Value,
    /// `S256`.
    #[serde(default, alias = "codeChallengeMethod")]
    #[schema(value_type = Option<String>)]
    code_challenge_method: Value,
    /// Where the app waits: one of the addresses that the operator listed, the first of them by itself.
    #[serde(default, alias = "redirectUri")]
    #[schema(value_type = Option<String>)]
    redirect_uri: Value,
    /// `login`, `consent`, `select_account`, `create` or `none`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    prompt: Value,
}

impl AppStartBody {
    /// What was typed; empty when it is missing.
    fn handle(&self) -> &str {
        self.handle.as_str().map(str::trim).unwrap_or_default()
    }

    /// What the app says of itself.
    fn start(&self) -> AppStart<'_> {
        AppStart {
            code_challenge: self.code_challenge.as_str(),
            code_challenge_method: self.code_challenge_method.as_str(),
            redirect_uri: self.redirect_uri.as_str(),
        }
    }
}

/// A sign-in that waits for the person at their server.
pub(crate) struct AppBegun {
    pub(crate) auth_url: Url,
    pub(crate) handle: Option<String>,
    /// The login cookie, for a page of ours.
    pub(crate) cookie: Option<HeaderValue>,
}

/// Where a request of an app comes from.
pub(crate) struct AppRequest {
    sign_ins: SignIns,
    accounts: Accounts,
    site: Site,
    client: IpAddr,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
}

impl FromRequestParts<Parts> for AppRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, Infallible> {
        let ClientAddress(client) = ClientAddress::from_request_parts(parts, state).await?;
        let presented = Presented::from_request_parts(parts, state).await;
        let (sign_ins, accounts, site) = (SignIns::from_ref(state), Accounts::from_ref(state), Site::from_ref(state));
        Ok(Self { sign_ins, accounts, site, client, headers: parts.headers.clone(), presented })
    }
}

impl AppRequest {
    /// Reads what is asked for, not from another site's page, and begins it. `ending` is where the contract of the route sends
    /// the end, and `unnamed` what it says when there is no handle.
    pub(crate) async fn begin(
        self,
        body: Body,
        unnamed: &'static str,
        ending: impl FnOnce(&MobileConfig, AppStart<'_>) -> Result<AppReturn, ApiError>,
    ) -> Result<AppBegun, ApiError> {
        csrf::check_not_cross_site(&self.headers, &self.site)?;
        let body: AppStartBody = read_json(&self.headers, body).await?;
        if body.handle().is_empty() {
            return Err(ApiError::bad_request("invalid_handle", unnamed));
        }
        let ending = LoginEnding::App(ending(&self.site.mobile, body.start())?);
        self.begin_to(&body, ending).await
    }

    /// What a page of ours asks for ends in its own browser alone, and is nobody's who is signed in there: the
    /// account is for the app. Whoever asks by itself may show its session, and the account is added to that.
    async fn begin_to(self, body: &AppStartBody, ending: LoginEnding) -> Result<AppBegun, ApiError> {
        let wanted = |purpose| Wanted { typed: body.handle(), prompt: body.prompt.as_str(), return_to: None, purpose };
        if csrf::is_own_page(&self.headers, &self.site) {
            let wanted = wanted(LoginPurpose::SignIn);
            let begun = self.sign_ins.begin_to(self.client, &self.headers, wanted, ending).await?;
            return Ok(AppBegun { auth_url: begun.authorize_url, handle: begun.handle, cookie: Some(begun.cookie) });
        }
        let purpose = self.purpose(body.handle()).await?;
        let begun = self.sign_ins.begin_elsewhere(self.client, wanted(purpose), ending).await?;
        Ok(AppBegun { auth_url: begun.authorize_url, handle: begun.handle, cookie: None })
    }

    /// A cookie counts where no browser can have sent it by itself.
    async fn purpose(&self, typed: &str) -> Result<LoginPurpose, ApiError> {
        match &self.presented {
            Ok(Presented(signed_in)) if signed_in.via == Via::Bearer || csrf::is_not_a_browser(&self.headers) => {
                self.accounts.check_place(&signed_in.device, typed).await?;
                Ok(LoginPurpose::AddAccount { device: signed_in.device.session.id.clone() })
            }
            Ok(_) => Ok(LoginPurpose::SignIn),
            Err(fault) => fault.of_request().map_or(Ok(LoginPurpose::SignIn), Err),
        }
    }
}
