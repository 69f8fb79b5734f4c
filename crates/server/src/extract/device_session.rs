//! Which device session a request belongs to: by cookie, or by bearer.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::StoreError;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::request::Parts as RequestParts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::bearer::{Bearer, bearer};
use crate::cookies::{self, DuplicateCookie, SessionCookieName};
use crate::csrf;
use crate::device_sessions::{DeviceSessions, LiveDevice};
use crate::error::{ApiError, ERROR_HEADER};
use crate::parts::Parts;
use crate::seals::{Named, Seals};
use crate::site::Site;

/// How a client showed its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// A cookie, which a browser sends by itself: unsafe requests need the checks of [`crate::csrf`].
    Cookie(SessionCookieName),
    /// A header, which no browser sends by itself.
    Bearer,
}

impl Via {
    /// The name under which a fresh seal goes back.
    pub(crate) fn cookie(self) -> Option<SessionCookieName> {
        match self {
            Self::Cookie(name) => Some(name),
            Self::Bearer => None,
        }
    }
}

/// A live device session that may do what the request asks: with a cookie, unsafe methods need the CSRF header.
pub(crate) struct SignedIn {
    pub(crate) device: Arc<LiveDevice>,
    pub(crate) via: Via,
    /// Whether its seal is one for the next calls alone: nothing is extended by it.
    pub(crate) is_brief: bool,
}

/// A live device session, without any check against forgery: for safe methods, and for handlers that check by
/// themselves.
pub(crate) struct Presented(pub(crate) SignedIn);

/// Why a request belongs to no device session.
#[derive(Debug)]
pub(crate) enum CredentialFault {
    /// It has no credential.
    Missing,
    /// Its seal is not good, or the session is over.
    Invalid {
        /// The cookie to take away.
        cookie: Option<SessionCookieName>,
        /// For attributes of that cookie.
        site: Site,
    },
    /// One cookie, twice.
    Duplicate(DuplicateCookie),
    /// Cookie and bearer do not name the same session.
    Ambiguous,
    /// The check against forgery failed.
    Forged(ApiError),
    /// The database did not answer.
    Store(StoreError),
}

impl FromRequestParts<Parts> for Presented {
    type Rejection = CredentialFault;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, CredentialFault> {
        present(&parts.headers, state.site(), state.seals(), state.devices()).await.map(Self)
    }
}

impl FromRequestParts<Parts> for SignedIn {
    type Rejection = CredentialFault;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, CredentialFault> {
        let signed_in = present(&parts.headers, state.site(), state.seals(), state.devices()).await?;
        if csrf::is_unsafe(&parts.method) && signed_in.via != Via::Bearer {
            csrf::check_header(&parts.headers, state.site()).map_err(CredentialFault::Forged)?;
        }
        Ok(signed_in)
    }
}

/// Opens what the request shows.
async fn present(
    headers: &HeaderMap,
    site: &Site,
    seals: &Seals,
    devices: &DeviceSessions,
) -> Result<SignedIn, CredentialFault> {
    let cookie = cookies::session_cookie(headers, site).map_err(CredentialFault::Duplicate)?;
    let invalid = |cookie| CredentialFault::Invalid { cookie, site: site.clone() };
    let (named, via) = match (bearer(headers), cookie) {
        (Bearer::Missing, None) => return Err(CredentialFault::Missing),
        (Bearer::Missing, Some((name, seal))) => {
            (seals.open(seal).ok_or_else(|| invalid(Some(name)))?, Via::Cookie(name))
        }
        (Bearer::Seal(seal), None) => (seals.open(seal).ok_or_else(|| invalid(None))?, Via::Bearer),
        (Bearer::Unusable, _) => return Err(invalid(None)),
        (Bearer::Seal(by_header), Some((_, by_cookie))) => {
            let named = seals.open(by_header);
            let name = |named: &Option<Named>| named.as_ref().map(|named| named.device.clone());
            if by_header != by_cookie && name(&named) != name(&seals.open(by_cookie)) {
                return Err(CredentialFault::Ambiguous);
            }
            (named.ok_or_else(|| invalid(None))?, Via::Bearer)
        }
    };
    match devices.find(&named.device).await {
        Ok(Some(device)) => Ok(SignedIn { device, via, is_brief: named.is_brief }),
        Ok(None) => Err(invalid(via.cookie())),
        Err(error) => Err(CredentialFault::Store(error)),
    }
}

impl CredentialFault {
    /// The answer, where a missing or bad session is answered in a documented form of the route's own.
    pub(crate) fn into_answer(self, unauthenticated: &'static str, code: &'static str) -> Response {
        match self {
            Self::Missing => unauthenticated_answer(unauthenticated, code, None),
            Self::Invalid { cookie, site } => {
                unauthenticated_answer(unauthenticated, code, cookie.map(|name| cookies::clear_session(&site, name)))
            }
            Self::Duplicate(error) => duplicate(error).into_response(),
            Self::Ambiguous => ambiguous().into_response(),
            Self::Forged(error) => error.into_response(),
            Self::Store(error) => ApiError::from(error).into_response(),
        }
    }

    /// What is wrong with the request itself, if anything: with such credentials nothing should be begun, not even a
    /// sign-in.
    pub(crate) fn of_request(&self) -> Option<ApiError> {
        match self {
            Self::Duplicate(error) => Some(duplicate(*error)),
            Self::Ambiguous => Some(ambiguous()),
            Self::Missing | Self::Invalid { .. } | Self::Forged(_) | Self::Store(_) => None,
        }
    }

    /// Whether a bearer was shown that is no good, as opposed to a cookie, which a browser sends by itself.
    pub(crate) fn is_of_bearer(&self) -> bool {
        matches!(self, Self::Invalid { cookie: None, .. })
    }

    /// Whether nobody is signed in, as opposed to a request that is itself at fault or could not be checked.
    pub(crate) fn is_signed_out(&self) -> bool {
        matches!(self, Self::Missing | Self::Invalid { .. })
    }
}

impl IntoResponse for CredentialFault {
    /// The answer of every route that has no form of its own (row A-046).
    fn into_response(self) -> Response {
        const BODY: &str =
            r#"{"error":"Authentication required","message":"Please log in again","code":"SESSION_EXPIRED"}"#;
        self.into_answer(BODY, "session_invalid")
    }
}

fn duplicate(error: DuplicateCookie) -> ApiError {
    ApiError::bad_request("duplicate_cookie", error.to_string())
}

fn ambiguous() -> ApiError {
    ApiError::bad_request("ambiguous_credentials", "The cookie and the Authorization header differ")
        .with_hint("Send one of them")
}

fn unauthenticated_answer(body: &'static str, code: &'static str, set_cookie: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()).into());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR_HEADER, HeaderValue::from_static(code));
    if let Some(cookie) = set_cookie {
        headers.append(SET_COOKIE, cookie);
    }
    response
}
