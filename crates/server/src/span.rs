//! The span of a request, where traces are wanted: method, route, status and request id. Never the path, the query or a
//! header's words. It ends with the head of the answer; a body that is streamed goes on.
//!
//! A caller's `traceparent` is continued only when the caller is a trusted proxy. From anybody else it would let strangers
//! write into the traces of others, and decide what is kept.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bowerbird_core::SPANS;
use http::Method;
use tracing::field::{Empty, display};
use tracing::{Level, Span};

use crate::error::ApiError;
use crate::route_names::RouteNames;
use crate::site::Site;

/// Begins the span of a request; none where nobody wants it, or for a probe.
pub(crate) fn begin(request: &Request, site: &Site, names: &RouteNames) -> Span {
    let is_wanted = tracing::span_enabled!(target: SPANS, Level::INFO);
    if !is_wanted || matches!(request.uri().path(), "/health" | "/ready") {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        span.kind = "server",
        span.name = Empty,
        span.caller = trusted_caller(request, site),
        span.failed = Empty,
        http.request.method = method(request.method()),
        http.route = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        request_id = Empty,
    );
    let method = method(request.method());
    if let Some(route) = names.of(request.uri().path()) {
        span.record("http.route", route);
        span.record("span.name", display(format_args!("{method} {route}")));
    } else {
        span.record("span.name", method);
    }
    span
}

/// Notes what is answered; before an error becomes a body.
pub(crate) fn end(span: &Span, response: &Response) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", response.status().as_u16());
    span.record("span.failed", response.status().is_server_error());
    if let Some(error) = response.extensions().get::<ApiError>() {
        span.record("error.type", error.code);
    }
}

fn trusted_caller<'a>(request: &'a Request, site: &Site) -> Option<&'a str> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    if !site.trusted_proxies.iter().any(|range| range.contains(peer.ip())) {
        return None;
    }
    let mut given = request.headers().get_all("traceparent").iter();
    let (Some(only), None) = (given.next(), given.next()) else { return None };
    only.to_str().ok()
}

/// A method that a client made up is not repeated.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}
