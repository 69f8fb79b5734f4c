//! One endpoint per file: what it answers, its documentation, its handler.

pub(crate) mod account_activate;
pub(crate) mod account_add;
pub(crate) mod account_app_password;
pub(crate) mod account_avatar;
pub(crate) mod account_list;
pub(crate) mod account_remove;
pub(crate) mod account_show;
pub(crate) mod assets;
pub(crate) mod auth_start;
pub(crate) mod auth_tokens;
pub(crate) mod client_metadata;
pub(crate) mod device_end;
pub(crate) mod device_list;
pub(crate) mod devices_page;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod fallback;
pub(crate) mod forms;
pub(crate) mod health;
pub(crate) mod home;
pub(crate) mod jwks;
pub(crate) mod login;
pub(crate) mod login_repair;
pub(crate) mod logout;
pub(crate) mod mobile_auth;
pub(crate) mod mobile_decline;
pub(crate) mod mobile_refresh;
pub(crate) mod mobile_start;
pub(crate) mod oauth_callback;
pub(crate) mod openapi_json;
pub(crate) mod ready;
pub(crate) mod security_events;
pub(crate) mod security_page;
pub(crate) mod session;
pub(crate) mod tokens_health;
pub(crate) mod validate_session;
pub(crate) mod well_known;
pub(crate) mod window_end;
pub(crate) mod xrpc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use crate::cookies;
use crate::error::{ApiError, ERROR_HEADER};
use crate::extract::Via;
use crate::site::Site;

/// A JSON answer from text at hand.
fn json(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(axum::body::Body::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON answer from a value.
fn json_of(value: &impl serde::Serialize) -> Response {
    serde_json::to_vec(value).map_or_else(|error| ApiError::internal(error).into_response(), json)
}

/// An error in a form that an older contract documents: `error` is a sentence there. Our own code is in the header.
fn documented_error(status: StatusCode, code: &'static str, body: &impl serde::Serialize) -> Response {
    let mut response = json_of(body);
    *response.status_mut() = status;
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static(code));
    response
}

/// The refusal of a sign-in in a documented form: with the hint that there may be, and when to try again.
fn documented_refusal(status: StatusCode, error: &ApiError, mut body: serde_json::Value) -> Response {
    if let Some(hint) = &error.hint {
        body["hint"] = hint.as_ref().into();
    }
    retry_later(documented_error(status, error.code, &body), error)
}

/// Says when to try again, and what happened to whoever reads the log.
fn retry_later(mut response: Response, error: &ApiError) -> Response {
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if error.status.is_server_error() {
        tracing::warn!(code = error.code, cause = error.cause_chain(), "a sign-in did not begin");
    }
    response
}

/// Adds a cookie.
fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

/// A JSON answer from a value, with a cookie if there is one.
fn json_and_cookie(value: &impl serde::Serialize, cookie: Option<HeaderValue>) -> Response {
    let response = json_of(value);
    match cookie {
        Some(cookie) => with_cookie(response, cookie),
        None => response,
    }
}

/// Takes the session's cookie away from a browser; who came with a bearer has none.
fn without_session(response: Response, via: Via, site: &Site) -> Response {
    match via.cookie() {
        Some(name) => with_cookie(response, cookies::clear_session(site, name)),
        None => response,
    }
}

/// A redirect that turns every method into GET (303), or keeps the documented 302.
fn redirect(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (status, [(LOCATION, location)]).into_response(),
        Err(error) => ApiError::internal(error).into_response(),
    }
}

/// Lets caches keep an answer for a few minutes.
fn cacheable(mut response: Response, rule: &'static str) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(rule));
    response
}
