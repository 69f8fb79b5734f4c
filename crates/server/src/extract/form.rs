//! Bodies of our own forms and of the JSON API: small, read whole, with a limit.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bowerbird_core::Secret;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::device_session::Presented;
use super::{CredentialFault, SignedIn, Via};
use crate::csrf;
use crate::error::ApiError;
use crate::parts::Parts;

/// The largest body of a form or of our own JSON API, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The fields of a form, `application/x-www-form-urlencoded`. Any of them may be a password.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, Secret)>);

impl Form {
    /// Decodes pairs, as a query or a body has them.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).into_owned();
        Self(pairs.map(|(name, value)| (name, Secret::new(value))).collect())
    }

    /// The value of a field; an empty one counts as missing. Err when the field is there twice.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.expose());
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::bad_request("invalid_request", format!("`{name}` was sent more than once")));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// Reads a body.
    pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        expect_type(headers, "application/x-www-form-urlencoded")?;
        Ok(Self::parse(&read_all(body).await?))
    }
}

/// A form of one of our pages, sent by a device that is signed in, with its token checked (row 59).
pub(crate) struct SignedInForm {
    pub(crate) signed_in: SignedIn,
    pub(crate) form: Form,
    pub(crate) headers: HeaderMap,
}

/// A form of one of our pages, sent by anybody: with its token checked where a device is signed in, else by where it comes
/// from.
pub(crate) struct AnybodysForm {
    pub(crate) signed_in: Option<SignedIn>,
    pub(crate) form: Form,
    pub(crate) headers: HeaderMap,
}

/// Why such a form is refused.
pub(crate) enum FormFault {
    Credential(CredentialFault),
    Refused(ApiError),
}

impl FromRequest<Parts> for SignedInForm {
    type Rejection = FormFault;

    async fn from_request(request: Request, state: &Parts) -> Result<Self, FormFault> {
        let (mut parts, body) = request.into_parts();
        let Presented(signed_in) =
            Presented::from_request_parts(&mut parts, state).await.map_err(FormFault::Credential)?;
        let form = Form::read(&parts.headers, body).await.map_err(FormFault::Refused)?;
        check_token(&signed_in, &form, &parts.headers, state).map_err(FormFault::Refused)?;
        Ok(Self { signed_in, form, headers: parts.headers })
    }
}

impl FromRequest<Parts> for AnybodysForm {
    type Rejection = FormFault;

    async fn from_request(request: Request, state: &Parts) -> Result<Self, FormFault> {
        let (mut parts, body) = request.into_parts();
        let signed_in = match Presented::from_request_parts(&mut parts, state).await {
            Ok(Presented(signed_in)) => Some(signed_in),
            Err(fault) if fault.is_signed_out() => None,
            Err(fault) => return Err(FormFault::Credential(fault)),
        };
        if signed_in.is_none() {
            csrf::check_not_cross_site(&parts.headers, state.site()).map_err(FormFault::Refused)?;
        }
        let form = Form::read(&parts.headers, body).await.map_err(FormFault::Refused)?;
        if let Some(signed_in) = &signed_in {
            check_token(signed_in, &form, &parts.headers, state).map_err(FormFault::Refused)?;
        }
        Ok(Self { signed_in, form, headers: parts.headers })
    }
}

/// What a cookie carries must show the token of its session, or the header of a script.
fn check_token(signed_in: &SignedIn, form: &Form, headers: &HeaderMap, state: &Parts) -> Result<(), ApiError> {
    if signed_in.via == Via::Bearer {
        return Ok(());
    }
    let by_token =
        form.get("csrf").and_then(|token| csrf::check_form(headers, state.site(), &signed_in.device.session.id, token));
    by_token.or_else(|error| csrf::check_header(headers, state.site()).map_err(|_| error))
}

impl IntoResponse for FormFault {
    /// As a page, since a person sent it.
    fn into_response(self) -> Response {
        match self {
            Self::Credential(fault) if fault.is_signed_out() => {
                ApiError::new(StatusCode::UNAUTHORIZED, "session_invalid", "You are signed out")
                    .with_action("/", "Sign in")
                    .negotiated("")
                    .into_response()
            }
            Self::Credential(fault) => fault.into_response(),
            Self::Refused(error) => error.with_action("/", "Back to the start page").negotiated("").into_response(),
        }
    }
}

/// Reads a JSON body.
pub(crate) async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    expect_type(headers, "application/json")?;
    let bytes = read_all(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Where the mistake is, not what was there: the body may hold a secret in the wrong place.
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::bad_request("invalid_json", format!("The body is not the expected JSON ({place})"))
    })
}

fn expect_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        let message = format!("The body must be {expected}");
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
    }
}

async fn read_all(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than 16 KB"))
        }
        Err(error) => {
            Err(ApiError::bad_request("body_unreadable", "The body ended before it was complete").with_cause(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_there_once_or_not_at_all() {
        let form = Form::parse(b"a=1&b=&c=x%20y+z&c=2");
        assert_eq!(form.get("a").unwrap(), Some("1"));
        assert_eq!(form.get("b").unwrap(), None);
        assert_eq!(form.get("missing").unwrap(), None);
        assert_eq!(form.get("c").unwrap_err().code, "invalid_request");
        assert!(!format!("{:?}", Form::parse(b"password=canary")).contains("canary"));
    }

    #[tokio::test]
    async fn bodies_are_bounded_and_typed() {
        let mut headers = HeaderMap::new();
        let read =
            async |headers: &HeaderMap, body: Vec<u8>| read_json::<serde_json::Value>(headers, body.into()).await;
        assert_eq!(read(&headers, b"{}".to_vec()).await.unwrap_err().code, "unsupported_media_type");
        headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        assert!(read(&headers, b"{}".to_vec()).await.is_ok());
        assert_eq!(read(&headers, b"{\"secret".to_vec()).await.unwrap_err().code, "invalid_json");
        let deep = "[".repeat(10_000).into_bytes();
        assert_eq!(read(&headers, deep).await.unwrap_err().code, "invalid_json");
        assert_eq!(read(&headers, vec![b' '; 16 * 1024 + 1]).await.unwrap_err().code, "body_too_large");
    }
}
