//! What a client is told when something is refused or fails.
//!
//! A handler returns an [`ApiError`]; the door ([`crate::door`]) writes it out, since only there the request's `Accept`
//! and its id are known. Every error answer carries `Bowerbird-Error: <code>`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::StoreError;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// The header that names an error's code on every error answer.
pub(crate) const ERROR_HEADER: HeaderName = HeaderName::from_static("bowerbird-error");
/// The longest text from elsewhere that is passed on, in characters.
const MAX_TEXT: usize = 200;

/// An error answer. Boxed, since it is as large as it is rare.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(Box<Problem>);

/// See [`ApiError`].
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<Cow<'static, str>>,
    pub(crate) form: Form,
    pub(crate) retry_after: Option<u64>,
    /// Further members of the JSON object.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// What a page offers to do next: a link and its text.
    pub(crate) action: Option<(String, &'static str)>,
    /// The sign-in that led to it, so that a page can offer the form again.
    pub(crate) retry: Option<RetrySignIn>,
    /// For the log alone: it may tell about our network.
    pub(crate) cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// A sign-in to try again.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetrySignIn {
    /// What was typed.
    pub(crate) typed: String,
    /// The path to return to, checked.
    pub(crate) return_to: Option<String>,
    /// What the form for app passwords needs, when it led there.
    pub(crate) app_password: Option<RetryAppPassword>,
}

/// A sign-in with an app password to try again. The password itself is not here.
#[derive(Clone, Debug)]
pub(crate) struct RetryAppPassword {
    /// The token of the form, on a device that is signed in.
    pub(crate) csrf: Option<String>,
    /// Whether the account's server asks for a code.
    pub(crate) wants_code: bool,
}

/// What an error looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON.
    Json,
    /// A page for `text/html`, JSON for `application/json`, else plain text that begins with the given words.
    Negotiated(&'static str),
}

/// The JSON object of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A stable code.
    #[schema(example = "account_not_found")]
    error: String,
    /// What happened, for a person.
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Names this answer in the server's log.
    request_id: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            status,
            code,
            message: clip(&message.into()),
            hint: None,
            form: Form::Json,
            retry_after: None,
            fields: Vec::new(),
            action: None,
            retry: None,
            cause: None,
        }))
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here")
    }

    /// Also the answer for an account of somebody else: its existence is nobody's business (security row 73).
    pub(crate) fn account_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "account_not_found", "That account is not signed in on this device")
    }

    /// Also the answer for a device that holds no account of the one who asks.
    pub(crate) fn device_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "device_not_found", "None of these accounts is signed in on that device")
            .with_hint("It may have been signed out, or got another name by a sign-in; ask for the list again")
    }

    pub(crate) fn too_many_accounts() -> Self {
        let most = bowerbird_core::DeviceSession::MAX_ACCOUNTS;
        let message = format!("This device holds {most} accounts, and that is the most");
        Self::new(StatusCode::CONFLICT, "too_many_accounts", message).with_hint("Remove one, then add the other")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This address does not answer that method")
    }

    pub(crate) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on this server")
            .with_cause(cause)
            .with_hint("Try again; if it stays, the server's log has more under the request id")
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    #[must_use]
    pub(crate) fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    #[must_use]
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    #[must_use]
    pub(crate) fn with_action(mut self, link: impl Into<String>, text: &'static str) -> Self {
        self.action = Some((link.into(), text));
        self
    }

    #[must_use]
    pub(crate) fn with_retry(mut self, typed: &str, return_to: Option<&str>) -> Self {
        let return_to = return_to.filter(|path| *path != "/").map(str::to_owned);
        self.retry = Some(RetrySignIn { typed: typed.to_owned(), return_to, app_password: None });
        self
    }

    /// Offers the form for app passwords again; after [`Self::with_retry`].
    #[must_use]
    pub(crate) fn with_retry_app_password(mut self, again: RetryAppPassword) -> Self {
        if let Some(retry) = &mut self.retry {
            retry.app_password = Some(again);
        }
        self
    }

    /// Lets the client's `Accept` decide the form; plain text begins with the given words.
    #[must_use]
    pub(crate) fn negotiated(mut self, text_prefix: &'static str) -> Self {
        self.form = Form::Negotiated(text_prefix);
        self
    }

    /// The JSON object.
    pub(crate) fn to_json(&self, request_id: &str) -> String {
        let body = ErrorBody {
            error: self.code.to_owned(),
            message: self.message.clone(),
            hint: self.hint.as_ref().map(|hint| hint.clone().into_owned()),
            request_id: request_id.to_owned(),
        };
        let mut text = serde_json::to_string(&body).unwrap_or_default();
        for (name, value) in &self.fields {
            text.pop();
            // Writing to a String cannot fail.
            let _ = write!(text, ",\"{name}\":{}}}", serde_json::Value::from(value.as_str()));
        }
        text
    }

    /// The cause and its own causes in one line, for the log.
    pub(crate) fn cause_chain(&self) -> String {
        self.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default()
    }
}

/// An error and its causes in one line, for the log.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

impl Deref for ApiError {
    type Target = Problem;
    fn deref(&self) -> &Problem {
        &self.0
    }
}

impl DerefMut for ApiError {
    fn deref_mut(&mut self) -> &mut Problem {
        &mut self.0
    }
}

impl IntoResponse for ApiError {
    /// Leaves the body to the door.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.headers_mut().insert(ERROR_HEADER, header::HeaderValue::from_static(self.code));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Inconsistent { .. } | StoreError::Refused(_) => Self::internal(error),
            StoreError::Unavailable(_) | StoreError::Full => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The database is not available")
                    .with_cause(error)
                    .with_retry_after(2)
                    .with_hint("Nothing was lost; try again in a moment")
            }
        }
    }
}

/// What kind of body a client would like an error in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Page,
    Json,
    Text,
}

impl Wish {
    /// Reads `Accept`: whichever of HTML and JSON is named first and not refused (`q=0`).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                continue;
            }
            if media.eq_ignore_ascii_case("text/html") || media.eq_ignore_ascii_case("application/xhtml+xml") {
                return Self::Page;
            }
            if media.eq_ignore_ascii_case("application/json") {
                return Self::Json;
            }
        }
        Self::Text
    }
}

/// Cuts a text to a bearable length and shows what would be invisible in it.
fn clip(text: &str) -> String {
    crate::pages::visible(text, MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(accept: &str) -> Wish {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Wish::of(&headers)
    }

    #[test]
    fn accept_decides() {
        assert_eq!(wish("text/html,application/xhtml+xml,*/*;q=0.8"), Wish::Page);
        assert_eq!(wish("application/json, text/plain"), Wish::Json);
        assert_eq!(wish("application/json, text/html"), Wish::Json);
        assert_eq!(wish("text/html;q=0, application/json"), Wish::Json);
        assert_eq!(wish("*/*"), Wish::Text);
        assert_eq!(Wish::of(&HeaderMap::new()), Wish::Text);
    }

    #[test]
    fn json_is_well_formed_whatever_is_in_it() {
        let error = ApiError::bad_request("odd", "a \"quote\"\r\n\u{202e}")
            .with_hint("do")
            .with_field("reason", "x\"y")
            .with_field("repairUrl", "https://a");
        insta::assert_snapshot!(error.to_json("r1"), @r#"{"error":"odd","message":"a \"quote\"⟦U+000D⟧⟦U+000A⟧⟦U+202E⟧","hint":"do","request_id":"r1","reason":"x\"y","repairUrl":"https://a"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&error.to_json("r")).is_ok());
    }

    #[test]
    fn texts_are_cut() {
        assert_eq!(ApiError::bad_request("x", "é".repeat(10_000)).message.chars().count(), 200);
    }
}
