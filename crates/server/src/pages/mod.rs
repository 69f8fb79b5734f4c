//! Pages: small, rendered here, usable without script.

mod accounts;
mod assets;
mod continue_to_app;
mod devices;
mod docs;
mod mobile_auth;
mod moment;
mod opener;
mod operator;
mod security;
mod text;

use askama::Template;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::Entropy;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY};

pub(crate) use accounts::{AccountsPage, accounts_page};
pub(crate) use assets::{CSS, FAVICON, MOBILE_AUTH_JS, OPENER_JS, css_path, mobile_auth_js_path, opener_js_path};
pub(crate) use continue_to_app::{continue_page, declined_page};
pub(crate) use devices::{DevicesPage, devices_page};
pub(crate) use docs::docs_page;
pub(crate) use mobile_auth::{MobileAuthPage, mobile_auth_page};
pub(crate) use moment::Moment;
pub(crate) use opener::{OpenerResult, keep_opener, opener_page};
pub(crate) use operator::{OperatorPage, operator_page};
pub(crate) use security::{SecurityPage, security_page};
pub(crate) use text::visible;

use crate::error::ApiError;
use crate::security_headers::{self, PAGE_REFERRER_POLICY};
use crate::site::Site;

/// The longest name that is shown, in characters.
const MAX_NAME: usize = 64;
/// The longest identifier that is shown, in characters.
const MAX_IDENTIFIER: usize = 256;

/// What every page shows around its content.
pub(crate) struct Frame<'a> {
    app_name: &'a str,
    css: &'a str,
    policy: Option<&'a str>,
    tos: Option<&'a str>,
}

impl<'a> Frame<'a> {
    fn of(site: &'a Site) -> Self {
        Self {
            app_name: &site.app_name,
            css: css_path(),
            policy: site.policy_uri.as_ref().map(url::Url::as_str),
            tos: site.tos_uri.as_ref().map(url::Url::as_str),
        }
    }
}

/// The form for app passwords.
pub(crate) struct PasswordForm<'a> {
    /// The token, on a device that is signed in.
    csrf: Option<&'a str>,
    typed: &'a str,
    return_to: Option<&'a str>,
    wants_code: bool,
    /// Whether it is the form that did not work.
    has_error: bool,
}

impl<'a> PasswordForm<'a> {
    /// An empty one; None where app passwords are turned off.
    fn empty(site: &Site, csrf: Option<&'a str>) -> Option<Self> {
        let empty = Self { csrf, typed: "", return_to: None, wants_code: false, has_error: false };
        site.app_passwords.then_some(empty)
    }
}

/// The start page of somebody who is not signed in.
#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut<'a> {
    frame: Frame<'a>,
    typed: &'a str,
    return_to: Option<&'a str>,
    has_error: bool,
    password_form: Option<PasswordForm<'a>>,
}

/// An error, with the sign-in form again where one led to it.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    title: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    code: &'a str,
    request_id: &'a str,
    action: Option<(&'a str, &'a str)>,
    typed: &'a str,
    return_to: Option<&'a str>,
    has_form: bool,
    has_error: bool,
    password_form: Option<PasswordForm<'a>>,
}

/// The page with the sign-in form, which leads to a path or to the start page.
pub(crate) fn sign_in_page(site: &Site, return_to: Option<&str>) -> Response {
    let password_form = PasswordForm::empty(site, None).map(|form| PasswordForm { return_to, ..form });
    page(site, &SignedOut { frame: Frame::of(site), typed: "", return_to, has_error: false, password_form })
}

/// The text of an error page.
pub(crate) fn error_page(site: &Site, error: &ApiError, request_id: &str) -> String {
    let typed = error.retry.as_ref().map(|retry| visible(&retry.typed, 2048)).unwrap_or_default();
    let return_to = error.retry.as_ref().and_then(|retry| retry.return_to.as_deref());
    let by_password = error.retry.as_ref().and_then(|retry| retry.app_password.as_ref());
    let password_form = by_password.map(|again| PasswordForm {
        csrf: again.csrf.as_deref(),
        typed: &typed,
        return_to,
        wants_code: again.wants_code,
        has_error: true,
    });
    let template = ErrorPage {
        frame: Frame::of(site),
        title: title(error),
        message: &error.message,
        hint: error.hint.as_deref(),
        code: error.code,
        request_id,
        action: error.action.as_ref().map(|(link, text)| (link.as_str(), *text)),
        typed: &typed,
        return_to,
        has_form: error.retry.is_some(),
        has_error: by_password.is_none(),
        password_form,
    };
    // Rendering into a String fails only if a template's own code does.
    template.render().unwrap_or_else(|_| error.message.clone())
}

fn title(error: &ApiError) -> &'static str {
    match error.status.as_u16() {
        _ if error.retry.is_some() => "Sign-in did not work",
        404 => "Nothing here",
        401 => "You are signed out",
        403 => "Not allowed",
        421 => "Another address",
        429 => "Too many attempts",
        500.. => "Something went wrong",
        _ => "That did not work",
    }
}

/// A page as an answer.
pub(crate) fn page(site: &Site, template: &impl Template) -> Response {
    let mut response = match template.render() {
        Ok(html) => html.into_response(),
        Err(error) => return ApiError::internal(error).into_response(),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    dress(response.headers_mut(), site);
    response
}

/// A page with a script.
fn scripted_page(site: &Site, template: &impl Template, nonce: &str) -> Response {
    let mut response = page(site, template);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, security_headers::script_policy(site, nonce));
    response
}

/// What marks a script as ours, for one answer.
fn nonce(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The headers that a page has beyond those of every answer.
pub(crate) fn dress(headers: &mut HeaderMap, site: &Site) {
    headers.insert(CONTENT_SECURITY_POLICY, security_headers::page_policy(site));
    headers.entry(REFERRER_POLICY).or_insert(PAGE_REFERRER_POLICY);
}

#[cfg(test)]
mod tests;
