//! Fetching one JSON document from a directory.

use bowerbird_core::ports::{HttpClient, Purpose};
use bytes::Bytes;
use http::{Request, StatusCode};

use super::error::{IdentityError, Unreachable};

/// A directory's clear answer.
pub(super) enum Fetched {
    /// The document, not yet looked at.
    Document(Bytes),
    /// There is none (404, or 410 for a withdrawn identity).
    Absent,
}

/// Gets a document; anything but 200, 404 and 410 counts as "could not be asked".
pub(super) async fn fetch_document(http: &dyn HttpClient, url: &str) -> Result<Fetched, IdentityError> {
    let request = Request::get(url).header(http::header::ACCEPT, "application/did+ld+json, application/json");
    let request = request.body(Bytes::new()).map_err(|_| IdentityError::UnsupportedMethod)?;
    let response = http.send(request, Purpose::Document).await.map_err(IdentityError::of_http)?;
    match response.status() {
        StatusCode::OK => Ok(Fetched::Document(response.into_body())),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Fetched::Absent),
        status => Err(IdentityError::Unreachable(Unreachable::Status(status))),
    }
}
