//! The span that an outgoing request leaves in a trace, where traces are wanted: what it was for, where it went and how
//! it ended, until the head of the answer. Never a path or a query; and no host where the host tells who the person is.

use bowerbird_core::SPANS;
use bowerbird_core::ports::{HttpError, HttpFault, Purpose};
use http::{Method, Request, StatusCode, Uri};
use tracing::Span;
use tracing::field::Empty;

/// Longer than any method of the AT Protocol, shorter than any token.
const LONGEST_METHOD: usize = 100;

/// Begins the span of a request. It is a leaf, so that nobody needs to enter it.
pub(crate) fn begin<B>(request: &Request<B>, purpose: Purpose) -> Span {
    // Or sending spans would never end.
    if purpose == Purpose::Traces {
        return Span::none();
    }
    tracing::info_span!(
        target: SPANS,
        "outgoing",
        span.kind = "client",
        span.name = name(purpose),
        purpose = name(purpose).trim_start_matches("outgoing "),
        http.request.method = method(request.method()),
        server.address = host(request.uri(), purpose),
        rpc.method = xrpc_method(request.uri(), purpose),
        http.response.status_code = Empty,
        error.type = Empty,
        span.failed = Empty,
    )
}

/// Notes the end.
pub(crate) fn end(span: &Span, outcome: Result<StatusCode, &HttpError>) {
    if span.is_disabled() {
        return;
    }
    match outcome {
        Ok(status) => {
            span.record("http.response.status_code", status.as_u16());
            span.record("span.failed", status.is_server_error());
        }
        Err(error) => {
            span.record("error.type", fault(error.fault));
            span.record("span.failed", true);
        }
    }
}

const fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::HandleLookup => "outgoing handle_lookup",
        Purpose::Document => "outgoing document",
        Purpose::Authorization => "outgoing authorization",
        Purpose::Refresh => "outgoing refresh",
        Purpose::Webhook => "outgoing webhook",
        Purpose::Traces => "outgoing traces",
        Purpose::Api => "outgoing api",
    }
}

/// A method that a client made up is not repeated.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        _ => "_OTHER",
    }
}

/// A handle is the name of a host, and so is a `did:web`.
fn host(uri: &Uri, purpose: Purpose) -> Option<&str> {
    if matches!(purpose, Purpose::HandleLookup | Purpose::Document) { None } else { uri.host() }
}

/// The name of the XRPC method that is called, if the path is nothing else.
fn xrpc_method(uri: &Uri, purpose: Purpose) -> Option<&str> {
    let name = uri.path().strip_prefix("/xrpc/").filter(|_| purpose == Purpose::Api)?;
    let plain = name.len() <= LONGEST_METHOD
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && name.split('.').count() >= 3;
    plain.then_some(name)
}

const fn fault(fault: HttpFault) -> &'static str {
    match fault {
        HttpFault::UrlNotAllowed => "url_not_allowed",
        HttpFault::AddressNotAllowed => "address_not_allowed",
        HttpFault::NameNotFound => "name_not_found",
        HttpFault::Connect => "connect",
        HttpFault::Timeout => "timeout",
        HttpFault::TooLarge => "too_large",
        HttpFault::Broken => "broken",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_name_a_person_and_odd_paths_stay_here() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let alice = uri("https://alice.example/.well-known/atproto-did");
        assert_eq!(host(&alice, Purpose::HandleLookup), None);
        assert_eq!(host(&alice, Purpose::Document), None);
        assert_eq!(host(&uri("https://pds.example:8443/oauth/token"), Purpose::Refresh), Some("pds.example"));
        let called = |text: &str| xrpc_method(&uri(text), Purpose::Api).map(str::to_owned);
        let good = "https://pds.example/xrpc/app.bsky.feed.getTimeline";
        assert_eq!(called(good).as_deref(), Some("app.bsky.feed.getTimeline"));
        assert_eq!(called(&format!("{good}?cursor=secret")).as_deref(), Some("app.bsky.feed.getTimeline"));
        assert_eq!(xrpc_method(&uri(good), Purpose::Webhook), None);
        for odd in ["a.b", "a.b.c/d", "a.b.c_d", "a.b.%63", &"a.".repeat(60)] {
            assert_eq!(called(&format!("https://pds.example/xrpc/{odd}")), None, "{odd}");
        }
    }
}
