//! Client authentication: none, or an assertion signed with the client's key (RFC 7523 §2.2).

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::json;
use url::form_urlencoded;

use super::ClientId;
use crate::{
    Endpoint, Issuer, Secret, SigningKey, Timestamp,
    jose::{base64url, jws},
};

/// How long a client assertion is valid, in seconds; the reference server takes none that is older.
const ASSERTION_SECONDS: i64 = 60;

/// How this client authenticates; pinned per credential, since another key ends the grant.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// A public client.
    None,
    /// A confidential client with this key, published under this id.
    PrivateKeyJwt {
        /// The client key; never the DPoP key.
        key: SigningKey,
        /// Its id in the published key set.
        kid: String,
    },
}

impl ClientAuthentication {
    /// The id of the key, to be stored with the credential; `None` for a public client.
    pub fn kid(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::PrivateKeyJwt { kid, .. } => Some(kid),
        }
    }
}

/// One attempt at an endpoint of an authorization server: who we are, to whom, when, and a fresh assertion id.
///
/// Make a new one for every attempt, the nonce retry included: an assertion id works once.
#[derive(Clone, Debug)]
pub struct ClientAttempt<'a> {
    /// This client.
    pub client_id: &'a ClientId,
    /// Its authentication.
    pub authentication: &'a ClientAuthentication,
    /// The authorization server, the only audience of the assertion.
    pub issuer: &'a Issuer,
    /// The present.
    pub now: Timestamp,
    /// 16 fresh random bytes.
    pub assertion_jti: [u8; 16],
}

impl ClientAttempt<'_> {
    /// Makes a form POST (RFC 6749 appendix B) with the client's id and authentication added to the fields.
    pub(crate) fn form_post(&self, endpoint: &Endpoint, fields: &[(&str, &str)]) -> Request<Bytes> {
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
        form.append_pair("client_id", self.client_id.as_str());
        form.extend_pairs(fields);
        if let Some(assertion) = self.assertion() {
            form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            form.append_pair("client_assertion", assertion.expose());
        }
        let mut request = Request::new(Bytes::from(form.finish()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.uri().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request
    }

    /// The assertion (RFC 7523 §3): `iss` and `sub` are the client id, `aud` is the issuer and nothing else.
    fn assertion(&self) -> Option<Secret> {
        let ClientAuthentication::PrivateKeyJwt { key, kid } = self.authentication else { return None };
        let iat = self.now.as_seconds();
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": kid});
        let claims = json!({
            "iss": self.client_id.as_str(),
            "sub": self.client_id.as_str(),
            "aud": self.issuer.as_str(),
            "jti": base64url(self.assertion_jti),
            "iat": iat,
            "exp": iat + ASSERTION_SECONDS,
        });
        Some(Secret::new(jws::sign_compact(&header, &claims, key)))
    }
}

/// Reads a form body back, for tests of this crate.
#[cfg(test)]
pub(crate) fn form_of(request: &Request<Bytes>) -> std::collections::BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(request.body()).into_owned().collect();
    let map: std::collections::BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "no field appears twice");
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportPolicy;

    #[test]
    fn an_assertion_is_for_the_issuer_only_and_short() {
        let key = SigningKey::from_scalar(&[6; 32]).unwrap();
        let authentication = ClientAuthentication::PrivateKeyJwt { key: key.clone(), kid: "k1".to_owned() };
        let policy = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &policy).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/token", &issuer, &policy).unwrap();
        let client_id = ClientId::parse("https://bower.example/client.json").unwrap();
        let now = Timestamp::from_seconds(1_700_000_000);
        let attempt = |jti| ClientAttempt {
            client_id: &client_id,
            authentication: &authentication,
            issuer: &issuer,
            now,
            assertion_jti: [jti; 16],
        };
        let request = attempt(1).form_post(&endpoint, &[("a", "b c&d")]);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://as.example/oauth/token");
        assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
        let form = form_of(&request);
        assert_eq!(form["a"], "b c&d");
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let assertion = jws::verify(&form["client_assertion"], key.public_jwk()).unwrap();
        insta::assert_json_snapshot!(assertion.header, @r#"
        {
          "alg": "ES256",
          "kid": "k1",
          "typ": "JWT"
        }
        "#);
        insta::assert_json_snapshot!(assertion.claims, @r#"
        {
          "aud": "https://as.example",
          "exp": 1700000060,
          "iat": 1700000000,
          "iss": "https://bower.example/client.json",
          "jti": "AQEBAQEBAQEBAQEBAQEBAQ",
          "sub": "https://bower.example/client.json"
        }
        "#);
        let next = form_of(&attempt(2).form_post(&endpoint, &[]));
        assert_ne!(next["client_assertion"], form["client_assertion"]);
    }

    #[test]
    fn a_public_client_sends_its_id_only() {
        let policy = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &policy).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/token", &issuer, &policy).unwrap();
        let client_id = ClientId::parse("http://localhost").unwrap();
        let attempt = ClientAttempt {
            client_id: &client_id,
            authentication: &ClientAuthentication::None,
            issuer: &issuer,
            now: Timestamp::EPOCH,
            assertion_jti: [0; 16],
        };
        let form = form_of(&attempt.form_post(&endpoint, &[]));
        assert_eq!(form.into_iter().collect::<Vec<_>>(), [("client_id".to_owned(), "http://localhost".to_owned())]);
    }
}
