//! The token endpoint's answer as it came, to be persisted before anybody judges it (REFRESH.md, step 4).

use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::{ExpectedAnswer, TokenAnswerError, TokenRequestError, ValidatedTokens, validate};
use crate::Secret;

/// A successful answer of the token endpoint, raw: every member as it came, nothing judged.
///
/// A refresh token that arrived is the only one left, whatever else is wrong with the answer; seal and store it
/// first, then call [`Self::validate`].
#[derive(Clone, Debug)]
pub struct TokenAnswer {
    /// The access token.
    pub access_token: Option<Secret>,
    /// The refresh token; when absent, the one that is held stays.
    pub refresh_token: Option<Secret>,
    /// The token type, `DPoP` in whatever case.
    pub token_type: Option<String>,
    /// The granted scope.
    pub scope: Option<String>,
    /// The account's DID.
    pub sub: Option<String>,
    /// Seconds until the access token expires, when it was a number or the text of one.
    pub expires_in: Option<f64>,
}

impl TokenAnswer {
    /// Reads the answer to a token request: 200 with a JSON object that holds an access or refresh token.
    ///
    /// Nothing else is required here, not even a content type: a token that arrived must not be lost over a header.
    pub fn read<B: AsRef<[u8]>>(answer: &Response<B>) -> Result<Self, TokenRequestError> {
        if answer.status() != StatusCode::OK {
            return Err(TokenRequestError::from_answer(answer));
        }
        let mut members: Map<String, Value> =
            serde_json::from_slice(answer.body().as_ref()).map_err(|_| TokenRequestError::Unreadable)?;
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let access_token = text("access_token").map(Secret::new);
        let refresh_token = text("refresh_token").map(Secret::new);
        let (token_type, scope, sub) = (text("token_type"), text("scope"), text("sub"));
        if access_token.is_none() && refresh_token.is_none() {
            return Err(TokenRequestError::Unreadable);
        }
        let expires_in = match members.get("expires_in") {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        Ok(Self { access_token, refresh_token, token_type, scope, sub, expires_in })
    }

    /// Judges the answer; on failure quarantine what was stored and revoke it, never use or discard it.
    pub fn validate(&self, expected: &ExpectedAnswer<'_>) -> Result<ValidatedTokens, TokenAnswerError> {
        validate::validate(self, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{GrantFate, TokenErrorCode};

    fn read(status: u16, body: &str) -> Result<TokenAnswer, TokenRequestError> {
        TokenAnswer::read(&Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn everything_is_kept_as_it_came() {
        let answer = read(
            200,
            r#"{"access_token":"at","refresh_token":"rt","token_type":"Bearer","scope":"nonsense","sub":"\r\n","expires_in":-1e18,"x":1}"#,
        )
        .unwrap();
        assert!(answer.access_token.unwrap().matches("at"));
        assert!(answer.refresh_token.unwrap().matches("rt"));
        assert_eq!(answer.token_type.as_deref(), Some("Bearer"));
        assert_eq!(answer.scope.as_deref(), Some("nonsense"));
        assert_eq!(answer.sub.as_deref(), Some("\r\n"));
        assert_eq!(answer.expires_in, Some(-1e18));
    }

    #[test]
    fn members_of_the_wrong_type_do_not_lose_the_refresh_token() {
        let answer =
            read(200, r#"{"access_token":5,"refresh_token":"rt","scope":["a"],"sub":null,"expires_in":"3599"}"#)
                .unwrap();
        assert!(answer.access_token.is_none() && answer.scope.is_none() && answer.sub.is_none());
        assert!(answer.refresh_token.unwrap().matches("rt"));
        assert_eq!(answer.expires_in, Some(3599.0));
    }

    #[test]
    fn answers_without_tokens_are_unreadable_and_their_fate_is_unknown() {
        for body in ["", "{}", "[]", "null", "<html>", r#"{"access_token":"#, r#"{"error":"invalid_grant"}"#] {
            let error = read(200, body).unwrap_err();
            assert_eq!(error, TokenRequestError::Unreadable, "{body}");
            assert_eq!(error.grant_fate(), GrantFate::Unknown);
        }
    }

    #[test]
    fn only_200_brings_tokens() {
        for status in [201, 204, 206, 302, 400, 500] {
            let error = read(status, r#"{"access_token":"at","token_type":"DPoP"}"#).unwrap_err();
            assert_eq!(error, TokenRequestError::Unexpected { status }, "{status}");
        }
        let refused =
            read(400, r#"{"error":"invalid_grant","error_description":"Refresh token replayed"}"#).unwrap_err();
        assert!(matches!(refused, TokenRequestError::Refused(answer) if answer.code == TokenErrorCode::InvalidGrant));
    }

    #[test]
    fn debug_shows_no_token() {
        let answer = read(200, r#"{"access_token":"CANARY-AT","refresh_token":"CANARY-RT"}"#).unwrap();
        assert!(!format!("{answer:?}").contains("CANARY"));
    }
}
