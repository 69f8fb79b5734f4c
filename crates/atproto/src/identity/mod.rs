//! Who an account is: handle ⇄ DID → PDS (AT Protocol specifications "Handle" and "DID").

pub(crate) mod cache;
mod did_document;
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

pub use did_document::{DidDocumentError, Identity};
pub use error::{IdentityError, Unreachable};
pub(crate) use resolver::IdentityConfig;
pub use resolver::{Identities, ResolverMode};
