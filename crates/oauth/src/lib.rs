//! The OAuth protocol as AT Protocol servers speak it, pure: requests out, responses in.

pub mod authorization;
pub mod client;
pub mod dpop;
pub mod jose;
pub mod metadata;
mod origin;
pub mod pkce;
pub mod revocation;
pub mod scope;
mod secret;
mod time;
pub mod token;

pub use authorization::{
    CallbackError, CallbackParams, IssuerCheckError, ParAnswer, ParError, Prompt, PushedAuthorizationRequest,
    authorization_url,
};
pub use client::{ClientAttempt, ClientAuthentication, ClientDescription, ClientId, ClientMetadata};
pub use dpop::{DpopChallenge, DpopExchange, DpopExchangeError, DpopNonce, DpopServer, NonceStep};
pub use jose::{JwkSet, PrivateJwkSet, PublicJwk, SigningKey};
pub use metadata::{AuthorizationServerMetadata, Capability, EndpointRule, MetadataError, ProtectedResourceMetadata};
pub use origin::{Endpoint, EndpointError, Issuer, Origin, OriginError, TransportPolicy};
pub use pkce::PkceVerifier;
pub use revocation::{RevocationRequest, TokenTypeHint};
pub use scope::{Scope, ScopeSet};
pub use secret::{Secret, SecretBytes};
pub use time::Timestamp;
pub use token::{
    ExpectedAnswer, GrantFate, OAuthErrorAnswer, TokenAnswer, TokenAnswerError, TokenErrorCode, TokenRequest,
    TokenRequestError, ValidatedTokens,
};
