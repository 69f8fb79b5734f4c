//! Token requests (RFC 6749 §4.1.3 and §6).

use bytes::Bytes;
use http::Request;

use crate::{Endpoint, PkceVerifier, Secret, client::ClientAttempt};

/// What is exchanged for tokens.
#[derive(Clone, Debug)]
pub enum TokenRequest {
    /// The code of a callback; sent once in its life, since a replay ends the person's grant.
    AuthorizationCode {
        /// The code.
        code: Secret,
        /// The redirect URI of the pushed authorization request, byte for byte.
        redirect_uri: String,
        /// The verifier whose challenge was pushed.
        verifier: PkceVerifier,
    },
    /// A refresh token; single use.
    RefreshToken {
        /// The refresh token.
        refresh_token: Secret,
    },
}

impl TokenRequest {
    /// Makes the HTTP request of one attempt; the DPoP proof is put on it by [`crate::dpop::DpopExchange::sign`].
    pub fn to_http(&self, token_endpoint: &Endpoint, attempt: &ClientAttempt<'_>) -> Request<Bytes> {
        match self {
            Self::AuthorizationCode { code, redirect_uri, verifier } => attempt.form_post(
                token_endpoint,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", code.expose()),
                    ("redirect_uri", redirect_uri),
                    ("code_verifier", verifier.secret().expose()),
                ],
            ),
            Self::RefreshToken { refresh_token } => attempt.form_post(
                token_endpoint,
                &[("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())],
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Issuer, Timestamp, TransportPolicy,
        client::{ClientAuthentication, ClientId, form_of},
    };

    fn form_for(request: &TokenRequest) -> std::collections::BTreeMap<String, String> {
        let policy = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &policy).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/token", &issuer, &policy).unwrap();
        let client_id = ClientId::parse("https://bower.example/client.json").unwrap();
        let attempt = ClientAttempt {
            client_id: &client_id,
            authentication: &ClientAuthentication::None,
            issuer: &issuer,
            now: Timestamp::EPOCH,
            assertion_jti: [0; 16],
        };
        form_of(&request.to_http(&endpoint, &attempt))
    }

    #[test]
    fn the_code_travels_with_verifier_and_redirect_uri() {
        let form = form_for(&TokenRequest::AuthorizationCode {
            code: Secret::new("cod-1&x"),
            redirect_uri: "https://bower.example/oauth/callback".to_owned(),
            verifier: PkceVerifier::from_entropy(&[0; 64]),
        });
        insta::assert_json_snapshot!(form, @r#"
        {
          "client_id": "https://bower.example/client.json",
          "code": "cod-1&x",
          "code_verifier": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
          "grant_type": "authorization_code",
          "redirect_uri": "https://bower.example/oauth/callback"
        }
        "#);
    }

    #[test]
    fn a_refresh_carries_the_refresh_token_and_no_scope() {
        insta::assert_json_snapshot!(form_for(&TokenRequest::RefreshToken { refresh_token: Secret::new("ref-1") }), @r#"
        {
          "client_id": "https://bower.example/client.json",
          "grant_type": "refresh_token",
          "refresh_token": "ref-1"
        }
        "#);
    }

    #[test]
    fn debug_of_a_request_shows_no_secret() {
        let request = TokenRequest::RefreshToken { refresh_token: Secret::new("CANARY") };
        assert!(!format!("{request:?}").contains("CANARY"));
    }
}
