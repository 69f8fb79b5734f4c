//! Who we are to authorization servers: the client id, its metadata document, and its keys.

use std::sync::Arc;

use bowerbird_oauth::{
    ClientAuthentication, ClientDescription, ClientId, ClientMetadata, JwkSet, PrivateJwkSet, ScopeSet,
};
use bytes::Bytes;
use url::{Host, Url};

use crate::config::{AtprotoConfig, AtprotoConfigError};

/// Where the metadata document is served; part of the client id.
pub const METADATA_PATH: &str = "/oauth-client-metadata.json";
/// Where the public keys are served.
pub const JWKS_PATH: &str = "/oauth/jwks.json";
/// Where authorization servers send people back to.
pub const CALLBACK_PATH: &str = "/oauth/callback";
/// The other declared way back, which the older contracts know.
pub const OTHER_CALLBACK_PATH: &str = "/callback";

/// A public client's grant ends after this, whatever is done (reference server).
const PUBLIC_SESSION_SECONDS: i64 = 14 * 86_400;
/// A confidential client's grant ends after this (reference server).
const CONFIDENTIAL_SESSION_SECONDS: i64 = 2 * 365 * 86_400;

/// This installation as an OAuth client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: ClientId,
    keys: Option<PrivateJwkSet>,
    scope: ScopeSet,
    redirect_uri: String,
    metadata_json: Bytes,
    jwks_json: Bytes,
}

/// A credential that is bound to a client key which is not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyError {
    /// The key is not configured (any more).
    #[error("the client key {0:?} is not configured; put it back into the key set until no credential needs it")]
    Missing(String),
    /// The grant was given to a public client, and now there are keys.
    #[error("the grant belongs to a public client, but this server has client keys now; sign in again")]
    PublicBefore,
}

impl ClientIdentity {
    /// A loopback client for a loopback base URL; else a web client, confidential when there are keys.
    pub(crate) fn new(config: &AtprotoConfig, callback_path: &str) -> Result<Self, AtprotoConfigError> {
        let scope = ScopeSet::parse_requested(&config.scope).map_err(|e| AtprotoConfigError::Client(e.to_string()))?;
        let at = |path: &str| format!("{}{path}", config.base_url.as_str().trim_end_matches('/'));
        let mut redirect_uris = vec![at(callback_path)];
        redirect_uris.extend([CALLBACK_PATH, OTHER_CALLBACK_PATH].into_iter().filter(|p| *p != callback_path).map(at));
        let redirect_uri = at(callback_path);
        let loopback = is_loopback(&config.base_url);
        if loopback && config.client_keys.is_some() {
            tracing::warn!("client keys are not used on a loopback base URL: there the client is always public");
        }
        let keys = config.client_keys.clone().filter(|_| !loopback);
        let metadata = if loopback {
            ClientMetadata::loopback(redirect_uris, &scope)
        } else {
            let refused = |error: bowerbird_oauth::client::ClientIdError| AtprotoConfigError::Client(error.to_string());
            let id = ClientId::parse(&at(METADATA_PATH)).map_err(refused)?;
            let description = description(config);
            match &keys {
                Some(_) => ClientMetadata::web_confidential(&id, redirect_uris, &scope, description, at(JWKS_PATH)),
                None => ClientMetadata::web_public(&id, redirect_uris, &scope, description),
            }
        };
        let metadata = metadata.map_err(|error| AtprotoConfigError::Client(error.to_string()))?;
        let json = |error: serde_json::Error| AtprotoConfigError::Client(error.to_string());
        let metadata_json = serde_json::to_vec(&metadata).map_err(json)?.into();
        let public = keys.as_ref().map_or_else(|| JwkSet { keys: Vec::new() }, PrivateJwkSet::public);
        let jwks_json = serde_json::to_vec(&public).map_err(json)?.into();
        let id = ClientId::parse(&metadata.client_id).map_err(|error| AtprotoConfigError::Client(error.to_string()))?;
        Ok(Self { inner: Arc::new(Inner { id, keys, scope, redirect_uri, metadata_json, jwks_json }) })
    }

    /// The metadata document, byte for byte the same in every answer.
    pub fn metadata_json(&self) -> Bytes {
        self.inner.metadata_json.clone()
    }

    /// The public keys; an empty set for a public client.
    pub fn jwks_json(&self) -> Bytes {
        self.inner.jwks_json.clone()
    }

    /// The client id: the URL of the metadata document, or `http://localhost?…` on loopback.
    pub fn client_id(&self) -> &str {
        self.inner.id.as_str()
    }

    /// Whether the client authenticates with keys, which gives sessions of years instead of two weeks.
    pub fn is_confidential(&self) -> bool {
        self.inner.keys.is_some()
    }

    /// The longest session that authorization servers give this client, in seconds.
    pub fn session_cap_seconds(&self) -> i64 {
        if self.is_confidential() { CONFIDENTIAL_SESSION_SECONDS } else { PUBLIC_SESSION_SECONDS }
    }

    /// The redirect URI that logins use.
    pub fn redirect_uri(&self) -> &str {
        &self.inner.redirect_uri
    }

    pub(crate) fn id(&self) -> &ClientId {
        &self.inner.id
    }

    pub(crate) fn scope(&self) -> &ScopeSet {
        &self.inner.scope
    }

    /// How a new login authenticates: with the newest key, if there is one.
    pub(crate) fn newest_authentication(&self) -> ClientAuthentication {
        match &self.inner.keys {
            Some(keys) => with_key(keys.newest()),
            None => ClientAuthentication::None,
        }
    }

    /// How a grant authenticates that is bound to a key. Another key would end the grant, so there is no substitute.
    pub(crate) fn authentication(&self, kid: Option<&str>) -> Result<ClientAuthentication, ClientKeyError> {
        match (&self.inner.keys, kid) {
            (None, None) => Ok(ClientAuthentication::None),
            (Some(_), None) => Err(ClientKeyError::PublicBefore),
            (keys, Some(kid)) => {
                let key = keys.as_ref().and_then(|keys| keys.key(kid));
                key.map(with_key).ok_or_else(|| ClientKeyError::Missing(kid.to_owned()))
            }
        }
    }
}

fn with_key(key: &bowerbird_oauth::SigningKey) -> ClientAuthentication {
    ClientAuthentication::PrivateKeyJwt { kid: key.kid().unwrap_or_default().to_owned(), key: key.clone() }
}

fn description(config: &AtprotoConfig) -> ClientDescription {
    let link = |url: &Option<Url>| url.as_ref().map(ToString::to_string);
    ClientDescription {
        client_name: Some(config.app_name.clone()),
        client_uri: Some(config.base_url.to_string()),
        logo_uri: link(&config.logo_uri),
        policy_uri: link(&config.policy_uri),
        tos_uri: link(&config.tos_uri),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use bowerbird_oauth::SigningKey;

    use super::*;

    fn identity(base: &str, keys: &[(&str, u8)]) -> Result<ClientIdentity, AtprotoConfigError> {
        let mut config = AtprotoConfig::new(Url::parse(base).unwrap()).unwrap();
        if !keys.is_empty() {
            let key = |(kid, seed): &(&str, u8)| SigningKey::from_scalar(&[*seed; 32]).unwrap().with_kid(*kid);
            config.client_keys = Some(PrivateJwkSet::new(keys.iter().map(key).collect()).unwrap());
        }
        ClientIdentity::new(&config, CALLBACK_PATH)
    }

    fn json(bytes: &Bytes) -> serde_json::Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn loopback_needs_no_configuration() {
        let client = identity("http://127.0.0.1:8080", &[]).unwrap();
        insta::assert_snapshot!(client.client_id(), @"http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Foauth%2Fcallback&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback&scope=atproto%20transition%3Ageneric");
        assert!(!client.is_confidential());
        assert_eq!(client.session_cap_seconds(), 1_209_600);
        assert!(identity("http://localhost:8080", &[]).is_err(), "redirects must name the address");
        assert!(!identity("http://127.0.0.1:8080", &[("k", 1)]).unwrap().is_confidential());
    }

    #[test]
    fn a_public_server_is_a_web_client() {
        let client = identity("https://bower.test", &[]).unwrap();
        insta::assert_json_snapshot!(json(&client.metadata_json()), @r#"
        {
          "application_type": "web",
          "client_id": "https://bower.test/oauth-client-metadata.json",
          "client_name": "Bowerbird",
          "client_uri": "https://bower.test/",
          "dpop_bound_access_tokens": true,
          "grant_types": [
            "authorization_code",
            "refresh_token"
          ],
          "redirect_uris": [
            "https://bower.test/oauth/callback",
            "https://bower.test/callback"
          ],
          "response_types": [
            "code"
          ],
          "scope": "atproto transition:generic",
          "token_endpoint_auth_method": "none"
        }
        "#);
        assert_eq!(json(&client.jwks_json()), serde_json::json!({"keys": []}));
        assert!(identity("http://bower.test", &[]).is_err());
        assert!(identity("https://bower.test:8443", &[]).is_err());
    }

    #[test]
    fn a_confidential_client_keeps_each_grant_to_its_key() {
        let client = identity("https://bower.test", &[("new", 2), ("old", 1)]).unwrap();
        assert!(client.is_confidential());
        let metadata = json(&client.metadata_json());
        assert_eq!(metadata["token_endpoint_auth_method"], "private_key_jwt");
        assert_eq!(metadata["jwks_uri"], "https://bower.test/oauth/jwks.json");
        let keys = json(&client.jwks_json());
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
        assert!(keys["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()), "public halves only");
        assert_eq!(client.newest_authentication().kid(), Some("new"));
        assert_eq!(client.authentication(Some("old")).unwrap().kid(), Some("old"));
        assert_eq!(client.authentication(Some("gone")).unwrap_err(), ClientKeyError::Missing("gone".into()));
        assert_eq!(client.authentication(None).unwrap_err(), ClientKeyError::PublicBefore);
        let public = identity("https://bower.test", &[]).unwrap();
        assert!(public.authentication(None).is_ok());
        assert!(public.authentication(Some("new")).is_err());
    }
}
