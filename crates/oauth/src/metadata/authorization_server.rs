//! Authorization server metadata (RFC 8414), with every check of the AT Protocol's profile.

use http::Response;
use url::Url;

use super::{Capability, MetadataError, document::Document};
use crate::{Endpoint, Issuer, Origin, TransportPolicy, token::printable};

/// Whether endpoints must live at the issuer's own origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointRule {
    /// They must: a hostile server cannot point us at an honest one's endpoints.
    #[default]
    SameOrigin,
    /// They may live anywhere: only for a deployment whose operator says so.
    AnyOrigin,
}

/// An authorization server that AT Protocol clients can use; built only from a document that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServerMetadata {
    /// Who it is.
    pub issuer: Issuer,
    /// Where the browser goes.
    pub authorization_endpoint: Endpoint,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: Endpoint,
    /// Where requests are pushed.
    pub pushed_authorization_request_endpoint: Endpoint,
    /// Where grants are revoked, when the server has that.
    pub revocation_endpoint: Option<Endpoint>,
    /// The scopes it lists; transitional and granular ones need not be listed.
    pub scopes_supported: Vec<String>,
    /// The prompts it lists, when it does.
    pub prompt_values_supported: Option<Vec<String>>,
    /// The protected resources it lists, when it does.
    protected_resources: Option<Vec<String>>,
}

impl AuthorizationServerMetadata {
    /// Where an issuer serves the document.
    pub fn url(issuer: &Issuer) -> Url {
        issuer.origin().at_path("/.well-known/oauth-authorization-server")
    }

    /// Reads the answer from [`Self::url`].
    pub fn parse<B: AsRef<[u8]>>(
        answer: &Response<B>,
        issuer: &Issuer,
        policy: &TransportPolicy,
        rule: EndpointRule,
    ) -> Result<Self, MetadataError> {
        let document = Document::read(answer)?;
        let found = document.text("issuer")?;
        if !issuer.is(found) {
            return Err(MetadataError::IssuerMismatch {
                expected: issuer.as_str().to_owned(),
                found: printable(found, 200),
            });
        }
        check_capabilities(&document)?;
        let endpoint = |member: &'static str, text: &str| {
            match rule {
                EndpointRule::SameOrigin => Endpoint::parse(text, issuer, policy),
                EndpointRule::AnyOrigin => Endpoint::parse_foreign(text, policy),
            }
            .map_err(|source| MetadataError::Endpoint { member, source })
        };
        let required = |member| document.text(member).and_then(|text| endpoint(member, text));
        let revocation = document.optional_text("revocation_endpoint")?;
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            pushed_authorization_request_endpoint: required("pushed_authorization_request_endpoint")?,
            revocation_endpoint: revocation.map(|text| endpoint("revocation_endpoint", text)).transpose()?,
            scopes_supported: document.optional_list("scopes_supported")?.map(owned).unwrap_or_default(),
            prompt_values_supported: document.optional_list("prompt_values_supported")?.map(owned),
            protected_resources: document.optional_list("protected_resources")?.map(owned),
        })
    }

    /// Checks that the server does not disown the PDS that named it (RFC 9728 §4): a list, when present, must have it.
    pub fn check_resource(&self, pds: &Origin) -> Result<(), MetadataError> {
        match &self.protected_resources {
            Some(listed) if !listed.iter().any(|resource| resource == pds.as_str()) => {
                Err(MetadataError::ResourceNotListed { resource: pds.as_str().to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Everything that the AT Protocol's profile demands beyond RFC 8414.
fn check_capabilities(document: &Document) -> Result<(), MetadataError> {
    for (list, value, capability) in [
        ("response_types_supported", "code", Capability::CodeResponse),
        ("grant_types_supported", "authorization_code", Capability::CodeGrant),
        ("grant_types_supported", "refresh_token", Capability::RefreshGrant),
        ("code_challenge_methods_supported", "S256", Capability::PkceS256),
        ("token_endpoint_auth_methods_supported", "none", Capability::PublicClients),
        ("token_endpoint_auth_methods_supported", "private_key_jwt", Capability::ConfidentialClients),
        ("token_endpoint_auth_signing_alg_values_supported", "ES256", Capability::AssertionEs256),
        ("scopes_supported", "atproto", Capability::AtprotoScope),
        ("dpop_signing_alg_values_supported", "ES256", Capability::DpopEs256),
    ] {
        if !document.optional_list(list)?.is_some_and(|listed| listed.contains(&value)) {
            return Err(MetadataError::Unsupported(capability));
        }
    }
    for (flag, capability) in [
        ("authorization_response_iss_parameter_supported", Capability::IssParameter),
        ("require_pushed_authorization_requests", Capability::RequiredPar),
        ("client_id_metadata_document_supported", Capability::ClientIdMetadataDocument),
    ] {
        if document.optional_flag(flag)? != Some(true) {
            return Err(MetadataError::Unsupported(capability));
        }
    }
    let algorithms = document.optional_list("token_endpoint_auth_signing_alg_values_supported")?;
    if algorithms.is_some_and(|listed| listed.contains(&"none")) {
        return Err(MetadataError::Unsupported(Capability::AssertionEs256));
    }
    if document.optional_flag("require_request_uri_registration")? == Some(false) {
        return Err(MetadataError::Unsupported(Capability::RequestUriRegistration));
    }
    Ok(())
}
