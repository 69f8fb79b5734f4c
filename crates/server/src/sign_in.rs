//! Sending a person to their authorization server: the limits, the browser binding, and the words for what fails.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_atproto::{Logins, StartLogin, StartLoginError, StartedLogin};
use bowerbird_core::ports::Entropy;
use bowerbird_core::{
    AccountId, BrowserBinding, DeviceSessionId, LoginEnding, LoginIdentifier, LoginPurpose, Timestamp,
};
use bowerbird_oauth::Prompt;
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::cookies;
use crate::error::ApiError;
use crate::rate_limit::LoginLimiter;
use crate::return_to::return_to;
use crate::site::Site;

/// Random bytes in the login cookie.
const BINDING_BYTES: usize = 32;
/// The same in base64url.
const BINDING_LENGTH: usize = 43;

/// Begins logins. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SignIns {
    site: Site,
    logins: Logins,
    limiter: LoginLimiter,
    entropy: Arc<dyn Entropy>,
}

/// Who wants to sign in, as it came in.
pub(crate) struct Wanted<'a> {
    /// What was typed.
    pub(crate) typed: &'a str,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) return_to: Option<&'a str>,
    pub(crate) purpose: LoginPurpose,
}

/// A login that waits for the person at their server.
pub(crate) struct Begun {
    pub(crate) authorize_url: Url,
    pub(crate) handle: Option<String>,
    pub(crate) expires_at: Timestamp,
    /// The login cookie, to be set.
    pub(crate) cookie: HeaderValue,
}

impl SignIns {
    pub(crate) fn new(site: Site, logins: Logins, limiter: LoginLimiter, entropy: Arc<dyn Entropy>) -> Self {
        Self { site, logins, limiter, entropy }
    }

    /// Begins a login for what was typed.
    pub(crate) async fn begin(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        wanted: Wanted<'_>,
    ) -> Result<Begun, ApiError> {
        self.begin_to(client, headers, wanted, LoginEnding::Browser).await
    }

    /// The same, with an end that goes elsewhere.
    pub(crate) async fn begin_to(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        wanted: Wanted<'_>,
        ending: LoginEnding,
    ) -> Result<Begun, ApiError> {
        let mut login = self.login(wanted, ending)?;
        let (value, browser) = self.binding(headers)?;
        login.browser = Some(browser);
        self.count(client).await?;
        let started = self.logins.start(login).await;
        self.begun(started, &value)
    }

    /// Begins a login for an app that asks by itself. The browser that it then opens is not known, and may be anybody's.
    pub(crate) async fn begin_elsewhere(
        &self,
        client: IpAddr,
        wanted: Wanted<'_>,
        ending: LoginEnding,
    ) -> Result<StartedLogin, ApiError> {
        let login = self.login(wanted, ending)?;
        self.count(client).await?;
        self.logins.start(login).await.map_err(start_error)
    }

    fn login(&self, wanted: Wanted<'_>, ending: LoginEnding) -> Result<StartLogin, ApiError> {
        let identifier = LoginIdentifier::parse(wanted.typed).map_err(|error| {
            ApiError::bad_request("invalid_handle", "Invalid handle")
                .with_cause(error)
                .with_hint("Enter a handle such as alice.bsky.social, a DID, or the address of a server")
        })?;
        Ok(StartLogin {
            identifier,
            prompt: wanted.prompt.map(prompt).transpose()?,
            purpose: wanted.purpose,
            return_to: return_to(&self.site.base_url, wanted.return_to),
            ending,
            browser: None,
            state: None,
        })
    }

    /// Begins the repair of an account.
    pub(crate) async fn begin_repair(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        account: AccountId,
        device: Option<DeviceSessionId>,
    ) -> Result<Begun, ApiError> {
        let (value, browser) = self.binding(headers)?;
        self.count(client).await?;
        let started = self.logins.start_repair(account, device, Some(browser), "/".to_owned()).await;
        self.begun(started, &value)
    }

    fn begun(&self, started: Result<StartedLogin, StartLoginError>, value: &str) -> Result<Begun, ApiError> {
        let started = started.map_err(start_error)?;
        let cookie = cookies::set_login(&self.site, value)
            .ok_or_else(|| ApiError::internal("the login cookie is not a header value"))?;
        Ok(Begun {
            authorize_url: started.authorize_url,
            handle: started.handle,
            expires_at: started.expires_at,
            cookie,
        })
    }

    /// The value of the login cookie and what is stored of it. A browser keeps its value while logins are under way in
    /// several of its tabs.
    fn binding(&self, headers: &HeaderMap) -> Result<(String, BrowserBinding), ApiError> {
        let value = presented_binding(headers, &self.site)?.map_or_else(
            || {
                let mut bytes = [0; BINDING_BYTES];
                self.entropy.fill(&mut bytes);
                URL_SAFE_NO_PAD.encode(bytes)
            },
            str::to_owned,
        );
        let binding = hash(&value);
        Ok((value, binding))
    }

    async fn count(&self, client: IpAddr) -> Result<(), ApiError> {
        self.limiter.take(client).await.map_err(|seconds| {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many sign-ins from your network")
                .with_hint("Wait a moment, then try again")
                .with_retry_after(seconds)
        })
    }
}

/// The binding of the browser that made a request.
pub(crate) fn presented(headers: &HeaderMap, site: &Site) -> Result<Option<BrowserBinding>, ApiError> {
    Ok(presented_binding(headers, site)?.map(hash))
}

fn presented_binding<'a>(headers: &'a HeaderMap, site: &Site) -> Result<Option<&'a str>, ApiError> {
    let value = cookies::login_cookie(headers, site)
        .map_err(|error| ApiError::bad_request("duplicate_cookie", error.to_string()))?;
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    Ok(text.filter(|text| {
        text.len() == BINDING_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    }))
}

fn hash(value: &str) -> BrowserBinding {
    BrowserBinding(Sha256::digest(value).into())
}

fn prompt(text: &str) -> Result<Prompt, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request("invalid_request", "`prompt` is not one that can be asked for")
            .with_hint("Use login, consent, select_account, create or none")
    })
}

fn start_error(error: StartLoginError) -> ApiError {
    let (status, code) = (error.status(), error.code());
    let mut answer = ApiError::new(status, code, error.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        answer = answer.with_retry_after(5);
    }
    if let Some(hint) = start_hint(code) {
        answer = answer.with_hint(hint);
    }
    answer.with_cause(error)
}

fn start_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_handle" => "Check the spelling; a handle looks like alice.bsky.social",
        "ambiguous_handle" => "The handle's DNS records and website disagree; its owner must correct one of them",
        "address_not_allowed" => "That name does not lead to a public server",
        "identity_unresolvable" => "Check the spelling; if it is right, try again in a moment",
        "as_unreachable" | "par_failed" => "The account's server does not answer right now; try again in a moment",
        "as_metadata_invalid" | "as_unsupported" | "as_response_invalid" => {
            "The account's server is not set up for sign-in; its operator can correct that"
        }
        _ => return None,
    })
}
