//! did:web documents (the did:web method specification, narrowed by the AT Protocol: a host, no path).

use bowerbird_core::Did;
use bowerbird_core::identity::web_document_url;
use bowerbird_core::ports::HttpClient;
use bowerbird_oauth::TransportPolicy;
use bytes::Bytes;

use super::document_fetch::{Fetched, fetch_document};
use super::error::IdentityError;

/// Fetches the document of a did:web at its host.
pub(super) async fn web_document(
    http: &dyn HttpClient,
    policy: &TransportPolicy,
    did: &Did,
) -> Result<Bytes, IdentityError> {
    let url = web_document_url(did, policy).ok_or(IdentityError::UnsupportedMethod)?;
    match fetch_document(http, &url).await? {
        Fetched::Document(bytes) => Ok(bytes),
        Fetched::Absent => Err(IdentityError::DidNotFound),
    }
}
