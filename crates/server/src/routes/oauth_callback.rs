//! `GET /oauth/callback`: a person comes back from their authorization server (rows ).

use axum::extract::State;
use axum::response::Response;
use bowerbird_atproto::{FinishLoginError, FinishedLogin, Logins};
use bowerbird_core::{BrowserBinding, DeviceSession, DeviceSessionId, LoginPurpose};
use http::{HeaderMap, StatusCode, Uri};

use super::{redirect, with_cookie};
use crate::arrival::Arrivals;
use crate::cookies::{self, SessionCookieName};
use crate::device_name::device_name;
use crate::error::ApiError;
use crate::extract::{CredentialFault, Presented};
use crate::return_to::return_to;
use crate::seals::Seals;
use crate::sign_in;
use crate::site::Site;

/// How a plain text error begins, as the older contract has it (row A-007).
pub(crate) const TEXT: &str = "Login failed: ";

/// Ends a sign-in
#[utoipa::path(
    get, path = "/oauth/callback", tag = "OAuth servers", operation_id = "oauthCallback",
    params(
        ("code" = Option<String>, Query, description = "The authorization code"),
        ("state" = Option<String>, Query, description = "What names the login"),
        ("iss" = Option<String>, Query, description = "The issuer (RFC 9207)"),
        ("error" = Option<String>, Query, description = "Why there is no code"),
        ("error_description" = Option<String>, Query, description = "The same in words"),
    ),
    responses(
        (status = 303, description = "Signed in; to where the login began, with a new session cookie"),
        (status = 400, description = "Refused: unknown or used state, another browser, another issuer, an error of the authorization server"),
        (status = 403, description = "The answer is about an account that its issuer does not speak for"),
        (status = 502, description = "The authorization server is at fault"),
        (status = 503, description = "The database does not answer"),
    )
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(seals): State<Seals>,
    State(ending): State<Ending>,
    presented: Result<Presented, CredentialFault>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let present = match presented {
        Ok(Presented(signed_in)) => Some(signed_in),
        Err(fault) => match fault.of_request() {
            Some(error) => return Err(refused(error)),
            None => None,
        },
    };
    let planted = matches!(cookies::session_cookie(&headers, &site), Ok(Some((SessionCookieName::Plain, _))));
    let browser = sign_in::presented(&headers, &site).map_err(refused)?;
    let query = uri.query().unwrap_or_default().to_owned();
    let device = present.map(|signed_in| signed_in.device.session.id.clone());
    // On a task of its own: a browser that goes away must not stop a code that is already on its way.
    let ended = tokio::spawn(ending.end(query, browser, device, device_name(&headers)))
        .await
        .map_err(|error| refused(ApiError::internal(error)))?;
    let Ended { session, login } = ended.map_err(refused)?;

    let name = SessionCookieName::of(&site);
    let seal = seals.renew(&session, &login.account);
    let cookie = seal.cookie(&site, name).ok_or_else(|| ApiError::internal("the seal is not a header value"))?;
    let mut response = redirect(StatusCode::SEE_OTHER, &return_to(&site.base_url, Some(&login.return_to)));
    if planted && name != SessionCookieName::Plain {
        // Else an older seal would come along with every later request.
        response = with_cookie(response, cookies::clear_session(&site, SessionCookieName::Plain));
    }
    Ok(with_cookie(response, cookie))
}

/// What ends a login. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ending {
    logins: Logins,
    arrivals: Arrivals,
}

struct Ended {
    session: DeviceSession,
    login: FinishedLogin,
}

impl Ending {
    pub(crate) fn new(logins: Logins, arrivals: Arrivals) -> Self {
        Self { logins, arrivals }
    }

    async fn end(
        self,
        query: String,
        browser: Option<BrowserBinding>,
        present: Option<DeviceSessionId>,
        device_name: String,
    ) -> Result<Ended, ApiError> {
        let login = self.logins.finish(&query, browser).await.map_err(finish_error)?;
        // The browser's own session first; else the one that began the login, which is this browser's too: the login
        // cookie has just proved it.
        let device = present.or_else(|| match &login.purpose {
            LoginPurpose::SignIn => None,
            LoginPurpose::AddAccount { device } => Some(device.clone()),
            LoginPurpose::Repair { device, .. } => device.clone(),
        });
        let session = self.arrivals.put(&login.account, device.as_ref(), &device_name).await?;
        Ok(Ended { session, login })
    }
}

fn refused(error: ApiError) -> ApiError {
    let back = error.retry.clone().and_then(|retry| retry.return_to);
    error.with_retry("", back.as_deref()).negotiated(TEXT)
}

fn finish_error(error: FinishLoginError) -> ApiError {
    let (status, code) = (error.status(), error.fault.code());
    let mut answer = ApiError::new(status, code, error.to_string());
    if let Some(path) = error.return_to() {
        answer = answer.with_retry("", Some(path));
    }
    if let Some(hint) = finish_hint(code) {
        answer = answer.with_hint(hint);
    }
    answer.with_cause(error)
}

fn finish_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_state" => "That sign-in is over: it was used already, or began more than ten minutes ago. Start again",
        "login_session_mismatch" => "That sign-in began in another browser. Start again in this one",
        "access_denied" => "Access was refused at the account's server. Start again if that was a mistake",
        "account_mismatch" => "Sign in with the account that the link is for",
        "store_unavailable" => "Nothing was lost; start again in a moment",
        _ => return None,
    })
}
