//! Who we are to an authorization server: client id, client metadata document, client authentication.

mod auth;
mod error;
mod id;
mod metadata;

#[cfg(test)]
pub(crate) use auth::form_of;
pub use auth::{ClientAttempt, ClientAuthentication};
pub use error::ClientMetadataError;
pub use id::{ClientId, ClientIdError};
pub use metadata::{ApplicationType, ClientDescription, ClientMetadata, TokenEndpointAuthMethod};
