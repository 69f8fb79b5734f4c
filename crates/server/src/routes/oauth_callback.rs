//! `GET /oauth/callback`: a person comes back from their authorization server (rows, D-014).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bowerbird_atproto::{FinishLoginError, FinishLoginFault, FinishedLogin, LoginUnderWay, Logins};
use bowerbird_core::ports::{Clock, Entropy};
use bowerbird_core::{
    AppReturn, BrowserBinding, DeviceSession, DeviceSessionId, HandoffForm, LoginEnding, LoginPurpose, Secret,
    Timestamp,
};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode, Uri};
use url::form_urlencoded;

use super::{redirect, with_cookie};
use crate::arrival::Arrivals;
use crate::cookies::{self, SessionCookieName};
use crate::device_name::device_name;
use crate::error::{ApiError, Wish, chain};
use crate::extract::{CredentialFault, Presented};
use crate::handoffs::{Handoffs, Left};
use crate::older_contract::OlderContract;
use crate::pages::{self, OpenerResult};
use crate::return_to::return_to;
use crate::seals::Seals;
use crate::sign_in;
use crate::site::Site;
use crate::window_end::WindowEnd;

/// How long a browser is not sent to another server a second time.
const SENT_AGAIN: Duration = Duration::from_mins(10);

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
        (status = 200, description = "For an app that began by itself: a page that names it, and a link to it. In a window: a page that tells the one that opened it"),
        (status = 302, description = "To the app that began, with `code`, or with `error` and `error_description`; or once more to `/login`, when another server speaks for the account by now"),
        (status = 303, description = "Signed in; to where the login began, with a new session cookie"),
        (status = 400, description = "Refused: unknown or used state, another browser, another issuer, an error of the authorization server"),
        (status = 403, description = "The answer is about an account that its issuer does not speak for"),
        (status = 409, description = "The device got as many accounts as it may hold meanwhile"),
        (status = 502, description = "The authorization server is at fault"),
        (status = 503, description = "The database does not answer"),
    )
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(seals): State<Seals>,
    State(ending): State<Ending>,
    State(entropy): State<Arc<dyn Entropy>>,
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
    let browser = sign_in::presented(&headers, &site).map_err(refused)?;
    let (query, clock) = (uri.query().unwrap_or_default().to_owned(), Arc::clone(&ending.clock));
    let device = present.map(|signed_in| signed_in.device.session.id.clone());
    // On a task of its own: a browser that goes away must not stop a code that is already on its way.
    let ended = tokio::spawn(ending.end(query, browser, device, device_name(&headers)))
        .await
        .map_err(|error| refused(ApiError::internal(error)))?;
    match ended {
        Ok(Ended::Here { session, login }) => {
            to_browser(&site, &seals, &headers, (entropy.as_ref(), clock.now()), &session, &login)
        }
        Ok(Ended::ForApp { link, login }) => Ok(to_app(&site, &headers, &link, &login)),
        Err(Unended::Here(error)) => Err(refused(error)),
        Err(Unended::ForApp(link)) => Ok(app_redirect(&link)),
        Err(Unended::InWindow { origin, error }) => {
            let result = OpenerResult::Failed { code: error.code, message: &error.message };
            Ok(to_window(&site, entropy.as_ref(), clock.now(), &origin, &result))
        }
        Err(Unended::Again { handle }) => Ok(again(&handle)),
    }
}

fn to_browser(
    site: &Site,
    seals: &Seals,
    headers: &HeaderMap,
    (entropy, now): (&dyn Entropy, Timestamp),
    session: &DeviceSession,
    login: &FinishedLogin,
) -> Result<Response, ApiError> {
    let planted = matches!(cookies::session_cookie(headers, site), Ok(Some((SessionCookieName::Plain, _))));
    let name = SessionCookieName::of(site);
    let seal = seals.renew(session, &login.account);
    let cookie = seal.cookie(site, name).ok_or_else(|| ApiError::internal("the seal is not a header value"))?;
    let mut response = match &login.ending {
        LoginEnding::Opener { origin } => {
            let (did, handle) = (login.account.did.as_str(), login.account.handle.as_str());
            to_window(site, entropy, now, origin, &OpenerResult::SignedIn { did, handle })
        }
        _ => redirect(StatusCode::SEE_OTHER, &return_to(&site.base_url, Some(&login.return_to))),
    };
    if planted && name != SessionCookieName::Plain {
        // Else an older seal would come along with every later request.
        response = with_cookie(response, cookies::clear_session(site, SessionCookieName::Plain));
    }
    Ok(with_cookie(response, cookie))
}

/// In a window: its page tells the one that opened it, or the browser keeps it for that one to ask.
fn to_window(site: &Site, entropy: &dyn Entropy, now: Timestamp, origin: &str, result: &OpenerResult<'_>) -> Response {
    let page = pages::opener_page(site, entropy, origin, result);
    match WindowEnd::of(origin, result, now).cookie(site) {
        Some(kept) => with_cookie(page, kept),
        None => page,
    }
}

/// To the app at once where the browser that began came back. Else an app began by itself, and nothing says that it is one
/// of this person's: a page names both, and goes on when the person says so (security row 64). Programs are no people.
fn to_app(site: &Site, headers: &HeaderMap, link: &Secret, login: &FinishedLogin) -> Response {
    if login.began_here || Wish::of(headers) != Wish::Page {
        return app_redirect(link);
    }
    pages::continue_page(site, &login.account.handle, link)
}

fn app_redirect(link: &Secret) -> Response {
    let mut response = redirect(StatusCode::FOUND, link.expose());
    if let Some(location) = response.headers_mut().get_mut(LOCATION) {
        location.set_sensitive(true);
    }
    response
}

/// What ends a login. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ending {
    logins: Logins,
    arrivals: Arrivals,
    handoffs: Handoffs,
    seals: Seals,
    older_contract: OlderContract,
    clock: Arc<dyn Clock>,
    /// The browsers that were sent to another server than the first one, so that nobody goes round in circles.
    sent_again: moka::sync::Cache<[u8; 32], ()>,
}

enum Ended {
    Here {
        session: DeviceSession,
        login: FinishedLogin,
    },
    /// With the address that the app waits for.
    ForApp {
        link: Secret,
        login: FinishedLogin,
    },
}

enum Unended {
    Here(ApiError),
    ForApp(Secret),
    /// In a window that another page opened.
    InWindow {
        origin: String,
        error: ApiError,
    },
    /// The account's server has changed: once more, to the right one.
    Again {
        handle: String,
    },
}

impl Ending {
    pub(crate) fn new(
        logins: Logins,
        arrivals: Arrivals,
        handoffs: Handoffs,
        seals: Seals,
        older_contract: OlderContract,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let sent_again = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(SENT_AGAIN).build();
        Self { logins, arrivals, handoffs, seals, older_contract, clock, sent_again }
    }

    async fn end(
        self,
        query: String,
        browser: Option<BrowserBinding>,
        present: Option<DeviceSessionId>,
        device_name: String,
    ) -> Result<Ended, Unended> {
        let login = self.logins.finish(&query, browser).await.map_err(|error| self.unended(error, browser))?;
        if let LoginEnding::App(app) = &login.ending {
            let link = self.hand_over(&login, app, device_name).await;
            let link = link.map_err(|error| {
                tracing::warn!(code = error.code, cause = error.cause_chain(), "a sign-in of an app failed");
                Unended::ForApp(failure_link(app, "authentication_failed", &error.message))
            })?;
            return Ok(Ended::ForApp { link, login });
        }
        // The browser's own session first; else the one that began the login, which is this browser's too: the login
        // cookie has just proved it.
        let device = present.or_else(|| device_of(&login.purpose));
        let session = self.arrivals.put(&login.account, device.as_ref(), &device_name).await;
        let session = session.map_err(|why| Unended::Here(why.into()))?;
        Ok(Ended::Here { session, login })
    }

    /// An app is told at its address, the page behind a window in that; everybody else, and whoever began nothing that is
    /// known, here.
    fn unended(&self, error: FinishLoginError, browser: Option<BrowserBinding>) -> Unended {
        let Some(login) = error.under_way().cloned() else { return Unended::Here(finish_error(error)) };
        match &login.ending {
            LoginEnding::App(app) => {
                // The words of RFC 6749 where the account's server said them; ours have one.
                let code = error.fault.code();
                let told = match &error.fault {
                    FinishLoginFault::Denied { .. } => code,
                    _ => "authentication_failed",
                };
                failed_for_app(app, code, told, &error)
            }
            LoginEnding::Opener { origin } => Unended::InWindow { origin: origin.clone(), error: finish_error(error) },
            LoginEnding::Browser => match self.other_server_of(&error.fault, &login, browser) {
                Some(handle) => Unended::Again { handle },
                None => Unended::Here(finish_error(error)),
            },
        }
    }

    /// The handle of an account that another server speaks for by now, unless this browser was sent there already (row
    /// Only for the very account that the login was for: a server that answers for another one is at fault.
    fn other_server_of(
        &self,
        fault: &FinishLoginFault,
        login: &LoginUnderWay,
        browser: Option<BrowserBinding>,
    ) -> Option<String> {
        let FinishLoginFault::IssuerMismatch { did, .. } = fault else { return None };
        let (handle, browser) = (login.handle.as_ref()?, browser?);
        let moved = login.did.as_ref() == Some(did) && self.sent_again.entry(browser.0).or_insert(()).is_fresh();
        moved.then(|| {
            tracing::info!(%did, "an account is at another server by now; its sign-in begins again");
            handle.clone()
        })
    }

    /// The session is the app's, not that of the browser that it borrowed.
    async fn hand_over(&self, login: &FinishedLogin, app: &AppReturn, device_name: String) -> Result<Secret, ApiError> {
        let (account, device) = (&login.account, device_of(&login.purpose));
        match &app.form {
            HandoffForm::Code { challenge } => {
                self.arrivals.announce(account).await;
                let left = Left { account: account.id, device, device_name, challenge: challenge.clone() };
                let code = self.handoffs.leave(left).await?;
                Ok(app_link(app, &[("code", code.expose())]))
            }
            HandoffForm::Session => {
                let session = self.arrivals.put(account, device.as_ref(), &device_name).await?;
                self.older_contract.used(&app.address).await;
                let seal = self.seals.renew(&session, account);
                let (did, handle) = (account.did.as_str(), account.handle.as_str());
                Ok(app_link(app, &[("session_token", seal.expose()), ("did", did), ("handle", handle)]))
            }
        }
    }
}

fn device_of(purpose: &LoginPurpose) -> Option<DeviceSessionId> {
    match purpose {
        LoginPurpose::SignIn => None,
        LoginPurpose::AddAccount { device } => Some(device.clone()),
        LoginPurpose::Repair { device, .. } => device.clone(),
    }
}

/// The app's address with what it is told. It may hold a code.
fn app_link(app: &AppReturn, pairs: &[(&str, &str)]) -> Secret {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Secret::new(format!("{}?{query}", app.address))
}

/// To the beginning, with the same handle.
fn again(handle: &str) -> Response {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("handle", handle).finish();
    redirect(StatusCode::FOUND, &format!("/login?{query}"))
}

fn failed_for_app(app: &AppReturn, code: &str, told: &str, error: &dyn std::error::Error) -> Unended {
    tracing::warn!(code, cause = %chain(error), "a sign-in of an app failed");
    Unended::ForApp(failure_link(app, told, &error.to_string()))
}

fn failure_link(app: &AppReturn, told: &str, message: &str) -> Secret {
    let description = pages::visible(message, 200);
    app_link(app, &[("error", told), ("error_description", &description)])
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
