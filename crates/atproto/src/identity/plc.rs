//! did:plc documents from the directory (the did:plc specification, "DID resolution").

use bowerbird_core::Did;
use bytes::Bytes;
use url::Url;

use super::document_fetch::{Fetched, fetch_document};
use super::error::IdentityError;
use bowerbird_core::ports::HttpClient;

/// Fetches the document of a did:plc at the directory.
pub(super) async fn plc_document(http: &dyn HttpClient, directory: &Url, did: &Did) -> Result<Bytes, IdentityError> {
    // A did:plc is `did:plc:` and 24 base32 characters: safe in a path as it is.
    let base = directory.as_str().trim_end_matches('/');
    match fetch_document(http, &format!("{base}/{did}")).await? {
        Fetched::Document(bytes) => Ok(bytes),
        Fetched::Absent => Err(IdentityError::DidNotFound),
    }
}
