//! What can be wrong with a discovery document, by fault.

use crate::{EndpointError, OriginError};

/// Why a metadata document was refused. All of them are the remote server's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The status is not exactly 200; redirects are not followed.
    #[error("the metadata document was answered with {0}, not 200")]
    NotOk(u16),
    /// The content type is not `application/json`.
    #[error("the metadata document is not application/json")]
    NotJson,
    /// The body is larger than 512 KB.
    #[error("the metadata document is larger than 512 KB")]
    TooLarge,
    /// The body is not a JSON object, holds a name twice, or is nested deeper than 16 levels.
    #[error("the metadata document is malformed: {0}")]
    Malformed(String),
    /// A member is missing or has the wrong type.
    #[error("the metadata document's {0} is missing or of the wrong type")]
    Member(&'static str),
    /// `issuer` is another one than the document was fetched for.
    #[error("the metadata document says issuer {found:?}, but it was fetched from {expected}")]
    IssuerMismatch {
        /// The issuer that was asked.
        expected: String,
        /// What the document says, at most 200 printable characters.
        found: String,
    },
    /// An endpoint cannot be used.
    #[error("the metadata document's {member}: {source}")]
    Endpoint {
        /// The member's name.
        member: &'static str,
        /// What is wrong.
        source: EndpointError,
    },
    /// `resource` is another one than the document was fetched for.
    #[error("the metadata document says resource {found:?}, but it was fetched from {expected}")]
    ResourceMismatch {
        /// The server's origin.
        expected: String,
        /// What the document says, at most 200 printable characters.
        found: String,
    },
    /// `authorization_servers` does not name exactly one.
    #[error("the server names {0} authorization servers; exactly one is allowed")]
    AuthorizationServers(usize),
    /// The named authorization server is not an acceptable issuer.
    #[error("the server's authorization server is not an acceptable issuer: {0}")]
    BadIssuer(#[from] OriginError),
    /// The authorization server lists its resources, and this one is not among them.
    #[error("the authorization server does not list {resource} among its resources")]
    ResourceNotListed {
        /// The server's origin.
        resource: String,
    },
    /// The document is sound, but the server cannot do what the AT Protocol asks of it.
    #[error("the authorization server lacks what AT Protocol clients need: {0}")]
    Unsupported(Capability),
}

/// What an authorization server must be able to do (<https://atproto.com/specs/oauth#authorization-servers>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Capability {
    /// `response_types_supported` lacks `code`.
    #[error("response type code")]
    CodeResponse,
    /// `grant_types_supported` lacks `authorization_code`.
    #[error("grant type authorization_code")]
    CodeGrant,
    /// `grant_types_supported` lacks `refresh_token`.
    #[error("grant type refresh_token")]
    RefreshGrant,
    /// `code_challenge_methods_supported` lacks `S256`.
    #[error("PKCE with S256")]
    PkceS256,
    /// `token_endpoint_auth_methods_supported` lacks `none`.
    #[error("public clients (token endpoint authentication none)")]
    PublicClients,
    /// `token_endpoint_auth_methods_supported` lacks `private_key_jwt`.
    #[error("confidential clients (token endpoint authentication private_key_jwt)")]
    ConfidentialClients,
    /// `token_endpoint_auth_signing_alg_values_supported` lacks `ES256`, or offers `none`.
    #[error("client assertions with ES256, and never unsigned")]
    AssertionEs256,
    /// `scopes_supported` lacks `atproto`.
    #[error("scope atproto")]
    AtprotoScope,
    /// `authorization_response_iss_parameter_supported` is not true.
    #[error("the iss parameter in callbacks (RFC 9207)")]
    IssParameter,
    /// `require_pushed_authorization_requests` is not true.
    #[error("required pushed authorization requests (RFC 9126)")]
    RequiredPar,
    /// `dpop_signing_alg_values_supported` lacks `ES256`.
    #[error("DPoP proofs with ES256")]
    DpopEs256,
    /// `require_request_uri_registration` is false.
    #[error("registered request URIs only")]
    RequestUriRegistration,
    /// `client_id_metadata_document_supported` is not true.
    #[error("client id metadata documents")]
    ClientIdMetadataDocument,
}
