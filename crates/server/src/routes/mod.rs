//! One endpoint per file: what it answers, its documentation, its handler.

pub(crate) mod account_activate;
pub(crate) mod account_add;
pub(crate) mod account_app_password;
pub(crate) mod account_avatar;
pub(crate) mod account_list;
pub(crate) mod account_remove;
pub(crate) mod assets;
pub(crate) mod client_metadata;
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
pub(crate) mod oauth_callback;
pub(crate) mod openapi_json;
pub(crate) mod ready;
pub(crate) mod session;
pub(crate) mod tokens_health;
pub(crate) mod validate_session;
pub(crate) mod xrpc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use crate::error::ApiError;

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

/// Adds a cookie.
fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(SET_COOKIE, cookie);
    response
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
