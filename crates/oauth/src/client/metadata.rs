//! The client metadata document (RFC 7591 §2 as profiled by <https://atproto.com/specs/oauth#client-id-metadata-document>).

use serde::{Deserialize, Serialize};
use url::{Host, Url, form_urlencoded};

use super::{ClientId, ClientMetadataError};
use crate::scope::ScopeSet;

/// A client's metadata, as it is served at the client id's URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// The URL of this very document.
    pub client_id: String,
    /// The name that people see on the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The client's home page, at the same host as the client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// A picture of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// The privacy policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// The terms of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Where authorization servers send people back to.
    pub redirect_uris: Vec<String>,
    /// Everything that the client will ever ask for.
    pub scope: String,
    /// `authorization_code`, and `refresh_token` when the client refreshes.
    pub grant_types: Vec<String>,
    /// `code`.
    pub response_types: Vec<String>,
    /// A web or a native client.
    #[serde(default)]
    pub application_type: ApplicationType,
    /// How the client authenticates at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The algorithm of client assertions: `ES256` for a confidential client, absent for a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// Where the client's public keys are, for a confidential client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Always true in the AT Protocol.
    pub dpop_bound_access_tokens: bool,
}

/// Web or native (RFC 7591 leaves it to `OpenID`'s registration); web is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// Redirects to https URLs.
    #[default]
    Web,
    /// Redirects to an app's own scheme, to loopback, or to an app link.
    Native,
}

/// How a client authenticates; the two that AT Protocol servers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuthMethod {
    /// A public client: not at all.
    None,
    /// A confidential client: an assertion signed with its key (RFC 7523).
    PrivateKeyJwt,
}

/// How a client presents itself to people; every link is optional and must be https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientDescription {
    /// The name on the consent page.
    pub client_name: Option<String>,
    /// The home page.
    pub client_uri: Option<String>,
    /// A picture.
    pub logo_uri: Option<String>,
    /// The privacy policy.
    pub policy_uri: Option<String>,
    /// The terms of service.
    pub tos_uri: Option<String>,
}

impl ClientMetadata {
    /// A web client without keys: sessions end after 14 days at the latest.
    pub fn web_public(
        client_id: &ClientId,
        redirect_uris: Vec<String>,
        scope: &ScopeSet,
        description: ClientDescription,
    ) -> Result<Self, ClientMetadataError> {
        Self::build(client_id, redirect_uris, scope, description).checked()
    }

    /// A web client that authenticates with the keys published at `jwks_uri`.
    pub fn web_confidential(
        client_id: &ClientId,
        redirect_uris: Vec<String>,
        scope: &ScopeSet,
        description: ClientDescription,
        jwks_uri: String,
    ) -> Result<Self, ClientMetadataError> {
        let mut metadata = Self::build(client_id, redirect_uris, scope, description);
        metadata.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
        metadata.token_endpoint_auth_signing_alg = Some("ES256".to_owned());
        metadata.jwks_uri = Some(jwks_uri);
        metadata.checked()
    }

    /// A native app, always public here; redirects to `com.example.app:/path` or to its own https origin.
    pub fn native(
        client_id: &ClientId,
        redirect_uris: Vec<String>,
        scope: &ScopeSet,
        description: ClientDescription,
    ) -> Result<Self, ClientMetadataError> {
        let mut metadata = Self::build(client_id, redirect_uris, scope, description);
        metadata.application_type = ApplicationType::Native;
        metadata.checked()
    }

    /// The virtual metadata of a development client, which needs no public server: everything stands in its client id.
    pub fn loopback(redirect_uris: Vec<String>, scope: &ScopeSet) -> Result<Self, ClientMetadataError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for redirect_uri in &redirect_uris {
            query.append_pair("redirect_uri", redirect_uri);
        }
        query.append_pair("scope", &scope.to_string());
        // Spaces as %20: some servers read `+` literally in a client id.
        let query = query.finish().replace('+', "%20");
        let client_id = ClientId::parse(&format!("http://localhost?{query}"))?;
        let mut metadata = Self::build(&client_id, redirect_uris, scope, ClientDescription::default());
        metadata.application_type = ApplicationType::Native;
        metadata.checked()
    }

    fn build(
        client_id: &ClientId,
        redirect_uris: Vec<String>,
        scope: &ScopeSet,
        description: ClientDescription,
    ) -> Self {
        let ClientDescription { client_name, client_uri, logo_uri, policy_uri, tos_uri } = description;
        Self {
            client_id: client_id.as_str().to_owned(),
            client_name,
            client_uri,
            logo_uri,
            policy_uri,
            tos_uri,
            redirect_uris,
            scope: scope.to_string(),
            grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
            response_types: vec!["code".to_owned()],
            application_type: ApplicationType::Web,
            token_endpoint_auth_method: TokenEndpointAuthMethod::None,
            token_endpoint_auth_signing_alg: None,
            jwks_uri: None,
            dpop_bound_access_tokens: true,
        }
    }

    fn checked(self) -> Result<Self, ClientMetadataError> {
        self.validate()?;
        Ok(self)
    }

    /// Checks every rule that authorization servers enforce on a document like this.
    pub fn validate(&self) -> Result<(), ClientMetadataError> {
        let client_id = ClientId::parse(&self.client_id)?;
        ScopeSet::parse_requested(&self.scope)?;
        let has = |list: &[String], wanted: &str| list.iter().any(|entry| entry == wanted);
        if !self.dpop_bound_access_tokens {
            return Err(ClientMetadataError::NotDpopBound);
        }
        if !has(&self.grant_types, "authorization_code") {
            return Err(ClientMetadataError::NoCodeGrant);
        }
        if !has(&self.response_types, "code") {
            return Err(ClientMetadataError::NoCodeResponse);
        }
        self.validate_keys()?;
        self.validate_links(&client_id)?;
        let public = self.token_endpoint_auth_method == TokenEndpointAuthMethod::None;
        if client_id.is_loopback() && (!public || self.application_type != ApplicationType::Native) {
            return Err(ClientMetadataError::LoopbackKind);
        }
        if self.redirect_uris.is_empty() {
            return Err(ClientMetadataError::NoRedirectUri);
        }
        self.redirect_uris.iter().try_for_each(|uri| {
            self.redirect_fault(uri, &client_id)
                .map_or(Ok(()), |reason| Err(ClientMetadataError::RedirectUri { uri: uri.clone(), reason }))
        })
    }

    fn validate_keys(&self) -> Result<(), ClientMetadataError> {
        match self.token_endpoint_auth_method {
            TokenEndpointAuthMethod::None => {
                if self.jwks_uri.is_some() || self.token_endpoint_auth_signing_alg.is_some() {
                    return Err(ClientMetadataError::PublicWithKeys);
                }
            }
            TokenEndpointAuthMethod::PrivateKeyJwt => {
                if self.jwks_uri.is_none() {
                    return Err(ClientMetadataError::NoJwksUri);
                }
                if self.token_endpoint_auth_signing_alg.as_deref() != Some("ES256") {
                    return Err(ClientMetadataError::NoSigningAlgorithm);
                }
            }
        }
        Ok(())
    }

    fn validate_links(&self, client_id: &ClientId) -> Result<(), ClientMetadataError> {
        for (member, link) in [
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
            ("tos_uri", &self.tos_uri),
            ("jwks_uri", &self.jwks_uri),
        ] {
            let Some(link) = link else { continue };
            let url = Url::parse(link).ok().filter(|url| url.scheme() == "https");
            let url = url.ok_or(ClientMetadataError::LinkNotHttps { member })?;
            if member == "client_uri" && url.host() != client_id.to_url().host() {
                return Err(ClientMetadataError::ClientUriHost);
            }
        }
        Ok(())
    }

    /// What is wrong with a redirect URI, if anything.
    fn redirect_fault(&self, uri: &str, client_id: &ClientId) -> Option<&'static str> {
        let Ok(url) = Url::parse(uri) else { return Some("it is not a URL") };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Some("it must not have credentials or a fragment");
        }
        if client_id.is_loopback() {
            return loopback_fault(&url);
        }
        match (url.scheme(), self.application_type) {
            ("https", _) if writes_default_port(uri) => Some("the default port must not be written"),
            ("https", ApplicationType::Web) => None,
            ("https", ApplicationType::Native) => (url.origin() != client_id.to_url().origin())
                .then_some("an app link must have the same origin as the client id"),
            (_, ApplicationType::Web) => Some("a web client redirects to https only"),
            (scheme, ApplicationType::Native) => app_scheme_fault(scheme, uri, client_id),
        }
    }
}

/// Whether the authority of an https URL ends with `:443`, which a URL parser drops silently.
fn writes_default_port(uri: &str) -> bool {
    let authority = uri.split_once("//").map_or("", |(_, rest)| rest);
    authority.split(['/', '?', '#', '\\']).next().is_some_and(|authority| authority.ends_with(":443"))
}

/// Loopback redirects name the address, because `localhost` may be resolved to something else (RFC 8252 §8.3).
fn loopback_fault(url: &Url) -> Option<&'static str> {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        _ => false,
    };
    (url.scheme() != "http" || !loopback).then_some("it must be http://127.0.0.1 or http://[::1], with any port")
}

/// `com.example.app:/path`: the client id's host backwards, one slash.
fn app_scheme_fault(scheme: &str, uri: &str, client_id: &ClientId) -> Option<&'static str> {
    let url = client_id.to_url();
    let mut labels: Vec<&str> = url.host_str().unwrap_or_default().split('.').collect();
    labels.reverse();
    let rest = uri.get(scheme.len() + 1..).unwrap_or_default();
    if scheme != labels.join(".") {
        Some("an app's scheme must be the client id's host backwards, such as com.example.app")
    } else if !rest.starts_with('/') || rest.starts_with("//") {
        Some("an app's redirect has exactly one slash after the scheme, such as com.example.app:/callback")
    } else {
        None
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
