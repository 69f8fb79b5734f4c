//! Discovery documents of servers: RFC 8414 (authorization server) and RFC 9728 (protected resource), checked whole.

mod authorization_server;
mod document;
mod error;
mod protected_resource;

pub use authorization_server::{AuthorizationServerMetadata, EndpointRule};
pub use error::{Capability, MetadataError};
pub use protected_resource::ProtectedResourceMetadata;
