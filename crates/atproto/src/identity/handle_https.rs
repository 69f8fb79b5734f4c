//! The https way from a handle to a DID (AT Protocol specification "Handle", section "HTTPS well-known method").

use bowerbird_core::ports::{HttpClient, HttpFault, Purpose};
use bowerbird_core::{Did, Handle};
use bytes::Bytes;
use http::Request;

use super::error::{IdentityError, Unreachable};

/// Asks `https://<handle>/.well-known/atproto-did`. None when the host exists no more, or says so.
///
/// Any success status counts and the content type is not looked at, as the specification has it. Redirects are not
/// followed: a handle's host speaks for itself.
pub(super) async fn by_https(http: &dyn HttpClient, handle: &Handle) -> Result<Option<Did>, IdentityError> {
    let uri = format!("https://{handle}/.well-known/atproto-did");
    let request = Request::get(uri).header(http::header::ACCEPT, "text/plain").body(Bytes::new());
    // A handle is a host name, so that the URI always parses; if it did not, nothing could be found there.
    let Ok(request) = request else { return Ok(None) };
    let response = match http.send(request, Purpose::HandleLookup).await {
        Ok(response) => response,
        Err(error) if matches!(error.fault, HttpFault::NameNotFound | HttpFault::TooLarge) => return Ok(None),
        Err(error) => return Err(IdentityError::of_http(error)),
    };
    let status = response.status();
    if status.is_server_error() {
        return Err(IdentityError::Unreachable(Unreachable::Status(status)));
    }
    if !status.is_success() {
        return Ok(None);
    }
    let text = std::str::from_utf8(response.body()).unwrap_or_default();
    Ok(Did::parse(text.trim()).ok())
}

#[cfg(test)]
mod tests {
    use bowerbird_core::ports::HttpError;
    use bowerbird_core::testing::ScriptedHttp;
    use http::Response;

    use super::*;

    async fn answer(status: u16, body: &'static str) -> Result<Option<Did>, IdentityError> {
        let http = ScriptedHttp::new(move |request| {
            assert_eq!(request.uri(), "https://alice.test/.well-known/atproto-did");
            assert_eq!(request.purpose, Purpose::HandleLookup);
            Ok(Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap())
        });
        by_https(&http, &Handle::parse("alice.test").unwrap()).await
    }

    #[tokio::test]
    async fn a_did_with_white_space_around_it_is_read() {
        let did = answer(200, "\n did:plc:aaaaaaaaaaaaaaaaaaaaaaaa \r\n").await.unwrap().unwrap();
        assert_eq!(did.as_str(), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
        assert!(answer(204, "").await.unwrap().is_none());
        assert!(answer(200, "<!doctype html>").await.unwrap().is_none());
        assert!(answer(404, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").await.unwrap().is_none());
        assert!(answer(302, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").await.unwrap().is_none());
        assert!(matches!(answer(503, "").await, Err(IdentityError::Unreachable(_))));
    }

    #[tokio::test]
    async fn a_refused_address_is_told_apart_from_a_host_that_is_down() {
        let ask = |fault| async move {
            let http = ScriptedHttp::new(move |_| Err(HttpError::not_sent(fault, None)));
            by_https(&http, &Handle::parse("alice.test").unwrap()).await
        };
        assert!(matches!(ask(HttpFault::AddressNotAllowed).await, Err(IdentityError::AddressNotAllowed(_))));
        assert!(matches!(ask(HttpFault::Connect).await, Err(IdentityError::Unreachable(_))));
        assert!(ask(HttpFault::NameNotFound).await.unwrap().is_none());
    }
}
