//! What can be wrong with a client's metadata.

use super::ClientIdError;
use crate::scope::ScopeError;

/// Why a client metadata document would be refused by authorization servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientMetadataError {
    /// The client id is unusable.
    #[error("client_id: {0}")]
    ClientId(#[from] ClientIdError),
    /// The scope is unusable.
    #[error("scope: {0}")]
    Scope(#[from] ScopeError),
    /// `dpop_bound_access_tokens` is not true.
    #[error("dpop_bound_access_tokens must be true")]
    NotDpopBound,
    /// `grant_types` lacks `authorization_code`.
    #[error("grant_types must contain authorization_code")]
    NoCodeGrant,
    /// `response_types` lacks `code`.
    #[error("response_types must contain code")]
    NoCodeResponse,
    /// There is no redirect URI.
    #[error("redirect_uris must name at least one URI")]
    NoRedirectUri,
    /// A redirect URI is not allowed for this kind of client.
    #[error("the redirect URI {uri:?} is not allowed: {reason}")]
    RedirectUri {
        /// The URI.
        uri: String,
        /// What is wrong with it, and what would be right.
        reason: &'static str,
    },
    /// `client_uri`, `logo_uri`, `policy_uri`, `tos_uri` or `jwks_uri` is not an https URL.
    #[error("{member} must be an https URL")]
    LinkNotHttps {
        /// The member's name.
        member: &'static str,
    },
    /// `client_uri` is at another host than the client id.
    #[error("client_uri must have the same host as client_id")]
    ClientUriHost,
    /// A confidential client without `jwks_uri`.
    #[error("a private_key_jwt client needs jwks_uri")]
    NoJwksUri,
    /// A confidential client whose signing algorithm is not ES256.
    #[error("a private_key_jwt client needs token_endpoint_auth_signing_alg ES256")]
    NoSigningAlgorithm,
    /// A public client that names keys or a signing algorithm.
    #[error("a public client (token_endpoint_auth_method none) has no jwks_uri and no signing algorithm")]
    PublicWithKeys,
    /// A loopback client that is not public and native.
    #[error("a loopback client is always public and native")]
    LoopbackKind,
}
