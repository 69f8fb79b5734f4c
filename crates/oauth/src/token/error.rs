//! Errors of an authorization server's endpoints (RFC 6749 §5.2, RFC 9126 §2.3, RFC 9449 §5 and §8).

use http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};
use serde_json::Value;

/// Longest `error` code and longest body that are looked at, in bytes.
const MAX_CODE: usize = 100;
const MAX_BODY: usize = 64 * 1024;

/// An error code of the token, pushed authorization or revocation endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenErrorCode {
    /// A parameter is missing or wrong.
    InvalidRequest,
    /// The client authentication failed: nothing was consumed.
    InvalidClient,
    /// The code or refresh token is spent, revoked, expired or another client's; or a client assertion came twice.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The grant type is unknown there.
    UnsupportedGrantType,
    /// The scope is malformed or not declared by the client.
    InvalidScope,
    /// The proof must carry the nonce that came with this answer: nothing was consumed.
    UseDpopNonce,
    /// The DPoP proof was refused: nothing was consumed.
    InvalidDpopProof,
    /// The client's metadata document was refused.
    InvalidClientMetadata,
    /// The client id is unknown or its document could not be fetched.
    InvalidClientId,
    /// The person or the server said no.
    AccessDenied,
    /// The server failed.
    ServerError,
    /// The server is busy.
    TemporarilyUnavailable,
    /// A code that is not listed here, at most 100 printable characters.
    Other(String),
}

impl TokenErrorCode {
    /// Reads a code; unknown ones are kept.
    pub fn parse(text: &str) -> Self {
        match text {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            "use_dpop_nonce" => Self::UseDpopNonce,
            "invalid_dpop_proof" => Self::InvalidDpopProof,
            "invalid_client_metadata" => Self::InvalidClientMetadata,
            "invalid_client_id" => Self::InvalidClientId,
            "access_denied" => Self::AccessDenied,
            "server_error" => Self::ServerError,
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            other => Self::Other(printable(other, MAX_CODE)),
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidClientId => "invalid_client_id",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::Other(text) => text,
        }
    }
}

/// An error answer of an authorization server, made safe to log and show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authorization server answered {status} {}{}", code.as_str(), description_suffix(description.as_deref()))]
pub struct OAuthErrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The `error` member.
    pub code: TokenErrorCode,
    /// The `error_description` member, at most 200 printable characters.
    pub description: Option<String>,
}

impl OAuthErrorAnswer {
    /// Reads an error answer; `None` when the body is not JSON with an `error` text.
    pub fn read<B: AsRef<[u8]>>(answer: &Response<B>) -> Option<Self> {
        Self::read_parts(answer.status(), answer.body().as_ref())
    }

    /// Reads an error answer from its parts. The content type is not looked at: proxies get it wrong on errors.
    pub(crate) fn read_parts(status: StatusCode, body: &[u8]) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let body: Value = serde_json::from_slice(body).ok()?;
        let code = TokenErrorCode::parse(body.get("error")?.as_str()?);
        let description = body.get("error_description").or_else(|| body.get("message")).and_then(Value::as_str);
        Some(Self { status: status.as_u16(), code, description: description.map(|text| printable(text, 200)) })
    }
}

fn description_suffix(description: Option<&str>) -> String {
    description.map(|text| format!(" ({text})")).unwrap_or_default()
}

/// What happened to the code or refresh token that a failed request carried (REFRESH.md, step 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantFate {
    /// The server did not look at it: the same one may be sent again, with a fresh proof and assertion.
    NotConsumed,
    /// The server refuses it for good (`invalid_grant`).
    Refused,
    /// Nobody can tell; it may be spent.
    Unknown,
}

/// Why a token request brought no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// The server refused the request with an OAuth error.
    #[error(transparent)]
    Refused(#[from] OAuthErrorAnswer),
    /// The server wants fewer requests (429).
    #[error("the authorization server asks for fewer requests (429); try again later")]
    RateLimited {
        /// Seconds from `Retry-After`, clamped to 1 s – 1 h; `None` when absent or a date.
        retry_after_seconds: Option<u32>,
    },
    /// The server answered with another status and no OAuth error; a failure of it or of something in between.
    #[error("the authorization server answered {status} without an OAuth error")]
    Unexpected {
        /// The HTTP status.
        status: u16,
    },
    /// The server answered 200, but not with tokens that can be read.
    #[error("the authorization server answered 200, but not with a token answer")]
    Unreadable,
}

impl TokenRequestError {
    /// Sorts an answer that is not 200.
    pub(crate) fn from_answer<B: AsRef<[u8]>>(answer: &Response<B>) -> Self {
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Self::RateLimited { retry_after_seconds: retry_after_seconds(answer.headers()) };
        }
        match OAuthErrorAnswer::read(answer) {
            Some(refused) if status.is_client_error() || status.is_server_error() => Self::Refused(refused),
            _ => Self::Unexpected { status: status.as_u16() },
        }
    }

    /// What the failure says about the code or refresh token that was sent.
    ///
    /// A 5xx is never safe: the reference server may have spent the token before it failed.
    pub fn grant_fate(&self) -> GrantFate {
        match self {
            Self::RateLimited { .. } => GrantFate::NotConsumed,
            Self::Refused(answer) if answer.status < 500 => match answer.code {
                TokenErrorCode::UseDpopNonce | TokenErrorCode::InvalidDpopProof | TokenErrorCode::InvalidClient => {
                    GrantFate::NotConsumed
                }
                TokenErrorCode::InvalidGrant => GrantFate::Refused,
                _ => GrantFate::Unknown,
            },
            _ => GrantFate::Unknown,
        }
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), clamped to 1 s – 1 h.
pub(crate) fn retry_after_seconds(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits that do not fit are absurdly long; the clamp takes them.
    Some(text.parse::<u32>().unwrap_or(u32::MAX).clamp(1, 3600))
}

/// Foreign text made safe to show and log: control and invisible formatting characters dropped, cut at `limit`.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let invisible = |character: char| {
        character.is_control()
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|&character| !invisible(character)).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Vec<u8>> {
        Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn codes_print_as_they_are_read() {
        for text in [
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "use_dpop_nonce",
            "invalid_dpop_proof",
            "invalid_client_metadata",
            "invalid_client_id",
            "access_denied",
            "server_error",
            "temporarily_unavailable",
        ] {
            let code = TokenErrorCode::parse(text);
            assert_eq!(code.as_str(), text);
            assert!(!matches!(code, TokenErrorCode::Other(_)));
        }
        assert_eq!(TokenErrorCode::parse("new\r\nthing"), TokenErrorCode::Other("newthing".to_owned()));
    }

    #[test]
    fn the_fate_of_the_grant_follows_the_measured_behaviour() {
        use GrantFate::{NotConsumed, Refused, Unknown};
        for (status, body, fate) in [
            (400, r#"{"error":"use_dpop_nonce"}"#, NotConsumed),
            (401, r#"{"error":"invalid_dpop_proof"}"#, NotConsumed),
            (400, r#"{"error":"invalid_client"}"#, NotConsumed),
            (401, r#"{"error":"invalid_client"}"#, NotConsumed),
            (429, "slow down", NotConsumed),
            (400, r#"{"error":"invalid_grant","error_description":"Refresh token replayed"}"#, Refused),
            (500, r#"{"error":"invalid_grant"}"#, Unknown),
            (500, r#"{"error":"server_error"}"#, Unknown),
            (503, "busy", Unknown),
            (400, r#"{"error":"invalid_request"}"#, Unknown),
            (400, "<html>", Unknown),
            (302, r#"{"error":"invalid_grant"}"#, Unknown),
            (204, "", Unknown),
        ] {
            assert_eq!(TokenRequestError::from_answer(&answer(status, body)).grant_fate(), fate, "{status} {body}");
        }
        assert_eq!(TokenRequestError::Unreadable.grant_fate(), Unknown);
    }

    #[test]
    fn descriptions_are_cut_and_cleaned() {
        let body = serde_json::json!({"error": "x", "error_description": format!("a\r\n\u{202e}\u{1b}[31m{}", "b".repeat(10_000))});
        let read = OAuthErrorAnswer::read(&answer(400, &body.to_string())).unwrap();
        let description = read.description.clone().unwrap();
        assert_eq!(description.chars().count(), 200);
        assert!(description.starts_with("a[31mbbb"));
        assert!(read.to_string().starts_with("the authorization server answered 400 x (a[31m"));
    }

    #[test]
    fn bodies_that_are_no_errors_are_not_taken_for_some() {
        for body in ["", "{}", "[]", r#"{"error":5}"#, r#"{"error":null}"#, "\"invalid_grant\""] {
            assert_eq!(OAuthErrorAnswer::read(&answer(400, body)), None, "{body}");
        }
        let huge = format!(r#"{{"error":"invalid_grant","x":"{}"}}"#, "x".repeat(MAX_BODY));
        assert_eq!(OAuthErrorAnswer::read(&answer(400, &huge)), None);
    }

    #[test]
    fn retry_after_is_clamped() {
        let seconds = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after_seconds(&headers)
        };
        assert_eq!(seconds("30"), Some(30));
        assert_eq!(seconds("0"), Some(1));
        assert_eq!(seconds("99999999999999999999"), Some(3600));
        assert_eq!(seconds("-5"), None);
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
