//! Pushed authorization requests (RFC 9126): everything about the login goes here, nothing into the redirect.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Deserialize;

use super::Prompt;
use crate::{
    Endpoint, PkceVerifier, Secret,
    client::ClientAttempt,
    scope::ScopeSet,
    token::{OAuthErrorAnswer, TokenRequestError},
};

/// Longest `request_uri`, in bytes.
const MAX_REQUEST_URI: usize = 2048;
/// Lifetime of a `request_uri` that does not say, in seconds: what the reference server gives.
const DEFAULT_EXPIRES_IN: u32 = 300;

/// What is pushed to the authorization server before the person is sent there.
#[derive(Clone, Debug)]
pub struct PushedAuthorizationRequest<'a> {
    /// Where the person comes back to; declared in the client metadata.
    pub redirect_uri: &'a str,
    /// What is asked for; within the client metadata's scope.
    pub scope: &'a ScopeSet,
    /// A fresh random value without meaning, which the callback brings back.
    pub state: &'a Secret,
    /// A fresh verifier; only its S256 challenge is pushed.
    pub verifier: &'a PkceVerifier,
    /// The identifier exactly as the person typed it, when it names an account.
    pub login_hint: Option<&'a str>,
    /// What the server shall ask the person.
    pub prompt: Option<Prompt>,
}

impl PushedAuthorizationRequest<'_> {
    /// Makes the HTTP request of one attempt; the DPoP proof is put on it by [`crate::dpop::DpopExchange::sign`],
    /// which binds the code to the key from here on (RFC 9449 §10.1).
    pub fn to_http(&self, par_endpoint: &Endpoint, attempt: &ClientAttempt<'_>) -> Request<Bytes> {
        let (scope, challenge) = (self.scope.to_string(), self.verifier.challenge());
        let mut fields = vec![
            ("response_type", "code"),
            ("redirect_uri", self.redirect_uri),
            ("scope", &scope),
            ("state", self.state.expose()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend(self.login_hint.map(|hint| ("login_hint", hint)));
        fields.extend(self.prompt.map(|prompt| ("prompt", prompt.as_str())));
        attempt.form_post(par_endpoint, &fields)
    }
}

/// The server's handle for a pushed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParAnswer {
    /// The reference that the redirect carries; single use, bound to the first browser that opens it.
    pub request_uri: String,
    /// Seconds until it expires, at most 3600.
    pub expires_in: u32,
}

impl ParAnswer {
    /// Reads the answer: 201 (or 200, which some servers give) with a `request_uri`.
    pub fn read<B: AsRef<[u8]>>(answer: &Response<B>) -> Result<Self, ParError> {
        #[derive(Deserialize)]
        struct Wire {
            request_uri: String,
            #[serde(default)]
            expires_in: serde_json::Value,
        }
        if !matches!(answer.status(), StatusCode::CREATED | StatusCode::OK) {
            return Err(TokenRequestError::from_answer(answer).into());
        }
        let wire: Wire = serde_json::from_slice(answer.body().as_ref()).map_err(|_| ParError::Unreadable)?;
        let printable = wire.request_uri.bytes().all(|byte| byte.is_ascii_graphic());
        if wire.request_uri.is_empty() || wire.request_uri.len() > MAX_REQUEST_URI || !printable {
            return Err(ParError::Unreadable);
        }
        let expires_in = wire.expires_in.as_u64().map(|seconds| u32::try_from(seconds.min(3600)).unwrap_or(3600));
        Ok(Self { request_uri: wire.request_uri, expires_in: expires_in.unwrap_or(DEFAULT_EXPIRES_IN) })
    }
}

/// Why the authorization server did not take the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParError {
    /// The server refused it with an OAuth error: our client metadata, scope, redirect URI or proof.
    #[error(transparent)]
    Refused(OAuthErrorAnswer),
    /// The server wants fewer requests (429).
    #[error("the authorization server asks for fewer requests (429); try again later")]
    RateLimited {
        /// Seconds from `Retry-After`, clamped to 1 s – 1 h.
        retry_after_seconds: Option<u32>,
    },
    /// The server answered with another status and no OAuth error.
    #[error("the authorization server answered {status} without an OAuth error; try again later")]
    Unexpected {
        /// The HTTP status.
        status: u16,
    },
    /// The server answered with success, but without a usable `request_uri`.
    #[error("the authorization server took the request but gave no usable request_uri")]
    Unreadable,
}

impl From<TokenRequestError> for ParError {
    fn from(error: TokenRequestError) -> Self {
        match error {
            TokenRequestError::Refused(answer) => Self::Refused(answer),
            TokenRequestError::RateLimited { retry_after_seconds } => Self::RateLimited { retry_after_seconds },
            TokenRequestError::Unexpected { status } => Self::Unexpected { status },
            TokenRequestError::Unreadable => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Issuer, Timestamp, TransportPolicy,
        client::{ClientAuthentication, ClientId, form_of},
        token::TokenErrorCode,
    };

    fn pushed(login_hint: Option<&str>, prompt: Option<Prompt>) -> Request<Bytes> {
        let policy = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &policy).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/par", &issuer, &policy).unwrap();
        let client_id = ClientId::parse("https://bower.example/client.json").unwrap();
        let attempt = ClientAttempt {
            client_id: &client_id,
            authentication: &ClientAuthentication::None,
            issuer: &issuer,
            now: Timestamp::EPOCH,
            assertion_jti: [0; 16],
        };
        let scope = ScopeSet::parse_requested("atproto transition:generic").unwrap();
        let (state, verifier) = (Secret::new("st"), PkceVerifier::from_entropy(&[0; 64]));
        let redirect_uri = "https://bower.example/oauth/callback";
        PushedAuthorizationRequest {
            redirect_uri,
            scope: &scope,
            state: &state,
            verifier: &verifier,
            login_hint,
            prompt,
        }
        .to_http(&endpoint, &attempt)
    }

    #[test]
    fn the_request_holds_the_challenge_and_never_the_verifier() {
        let request = pushed(Some("alice.test"), Some(Prompt::Create));
        insta::assert_json_snapshot!(form_of(&request), @r#"
        {
          "client_id": "https://bower.example/client.json",
          "code_challenge": "4WWa1UBjo3n3f-4Qijdqan1a49DEN7-EcgOWO9AHjfw",
          "code_challenge_method": "S256",
          "login_hint": "alice.test",
          "prompt": "create",
          "redirect_uri": "https://bower.example/oauth/callback",
          "response_type": "code",
          "scope": "atproto transition:generic",
          "state": "st"
        }
        "#);
        assert!(!String::from_utf8_lossy(request.body()).contains("AAAAAAAAAAAA"));
        let plain = form_of(&pushed(None, None));
        assert!(!plain.contains_key("login_hint") && !plain.contains_key("prompt"));
    }

    fn read(status: u16, body: &str) -> Result<ParAnswer, ParError> {
        ParAnswer::read(&Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_answer_brings_a_request_uri() {
        let answer =
            read(201, r#"{"request_uri":"urn:ietf:params:oauth:request_uri:req-1","expires_in":299}"#).unwrap();
        assert_eq!((answer.request_uri.as_str(), answer.expires_in), ("urn:ietf:params:oauth:request_uri:req-1", 299));
        assert_eq!(read(200, r#"{"request_uri":"urn:x"}"#).unwrap().expires_in, 300);
        assert_eq!(read(201, r#"{"request_uri":"urn:x","expires_in":99999999999}"#).unwrap().expires_in, 3600);
    }

    #[test]
    fn bad_answers_are_told_apart() {
        let long = format!(r#"{{"request_uri":"{}"}}"#, "u".repeat(2049));
        for body in ["", "{}", r#"{"request_uri":""}"#, r#"{"request_uri":5}"#, r#"{"request_uri":"a b"}"#, &long] {
            assert_eq!(read(201, body), Err(ParError::Unreadable), "{body}");
        }
        assert_eq!(read(302, "{}"), Err(ParError::Unexpected { status: 302 }));
        assert_eq!(read(503, "busy"), Err(ParError::Unexpected { status: 503 }));
        assert_eq!(read(429, ""), Err(ParError::RateLimited { retry_after_seconds: None }));
        let refused = read(400, r#"{"error":"invalid_client_metadata","error_description":"Forbidden hostname"}"#);
        assert!(
            matches!(refused, Err(ParError::Refused(answer)) if answer.code == TokenErrorCode::InvalidClientMetadata)
        );
    }
}
