//! Token revocation (RFC 7009).

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::{Endpoint, Secret, client::ClientAttempt, token::TokenRequestError};

/// Which kind of token is revoked; a hint only (RFC 7009 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTypeHint {
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
}

impl TokenTypeHint {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// A request to end a grant; revoking either token ends both at the reference server.
#[derive(Clone, Debug)]
pub struct RevocationRequest {
    /// The token to revoke.
    pub token: Secret,
    /// Which kind it is.
    pub hint: TokenTypeHint,
}

impl RevocationRequest {
    /// Makes the HTTP request of one attempt.
    ///
    /// Put a DPoP proof on it with [`crate::dpop::DpopExchange::sign`] (without an access token): the reference server
    /// answers 200 to a request without a proof and revokes nothing.
    pub fn to_http(&self, revocation_endpoint: &Endpoint, attempt: &ClientAttempt<'_>) -> Request<Bytes> {
        let fields = [("token", self.token.expose()), ("token_type_hint", self.hint.as_str())];
        attempt.form_post(revocation_endpoint, &fields)
    }

    /// Reads the answer; 200 is all that a server says, also for tokens that it does not know (RFC 7009 §2.2).
    pub fn read<B: AsRef<[u8]>>(answer: &Response<B>) -> Result<(), TokenRequestError> {
        if answer.status() == StatusCode::OK { Ok(()) } else { Err(TokenRequestError::from_answer(answer)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Issuer, Timestamp, TransportPolicy,
        client::{ClientAuthentication, ClientId, form_of},
    };

    #[test]
    fn the_request_names_the_token_and_its_kind() {
        let policy = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &policy).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/revoke", &issuer, &policy).unwrap();
        let client_id = ClientId::parse("https://bower.example/client.json").unwrap();
        let attempt = ClientAttempt {
            client_id: &client_id,
            authentication: &ClientAuthentication::None,
            issuer: &issuer,
            now: Timestamp::EPOCH,
            assertion_jti: [0; 16],
        };
        let request = RevocationRequest { token: Secret::new("ref-1"), hint: TokenTypeHint::RefreshToken };
        insta::assert_json_snapshot!(form_of(&request.to_http(&endpoint, &attempt)), @r#"
        {
          "client_id": "https://bower.example/client.json",
          "token": "ref-1",
          "token_type_hint": "refresh_token"
        }
        "#);
    }

    #[test]
    fn only_200_is_success() {
        let answer = |status: u16| Response::builder().status(status).body(b"{}".to_vec()).unwrap();
        assert!(RevocationRequest::read(&answer(200)).is_ok());
        for status in [204, 302, 400, 401, 429, 503] {
            assert!(RevocationRequest::read(&answer(status)).is_err(), "{status}");
        }
    }
}
