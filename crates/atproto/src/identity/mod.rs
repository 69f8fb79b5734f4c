//! Who an account is: handle ⇄ DID → PDS (AT Protocol specifications "Handle" and "DID").

pub(crate) mod cache;
mod document_fetch;
mod error;
mod handle_dns;
mod handle_https;
mod hints;
mod plc;
mod resolver;
#[cfg(test)]
mod tests;
mod turns;
mod web;

pub use bowerbird_core::identity::{DidDocumentError, Identity};
pub use error::{IdentityError, Unreachable};
pub(crate) use resolver::IdentityConfig;
pub use resolver::{Identities, ResolverMode};
