//! Cross-origin calls: an exact allowlist, empty by default (security row 60).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};

use crate::site::Site;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "accept-language, atproto-accept-labelers, atproto-proxy, authorization, bowerbird-account, bowerbird-csrf, \
     content-type",
);
const EXPOSED: HeaderValue =
    HeaderValue::from_static("atproto-content-labelers, atproto-repo-rev, bowerbird-error, retry-after, x-request-id");

/// The origin of a request from a browser elsewhere, if the operator listed it.
pub(crate) fn listed_origin(headers: &HeaderMap, site: &Site) -> Option<HeaderValue> {
    if site.cors_origins.is_empty() {
        return None;
    }
    headers.get(ORIGIN).filter(|origin| site.cors_origins.contains(origin)).cloned()
}

/// Whether this asks for permission and nothing else.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Marks an answer for a listed origin. Caches must keep answers for different origins apart either way.
pub(crate) fn apply(headers: &mut HeaderMap, site: &Site, origin: Option<HeaderValue>) {
    if site.cors_origins.is_empty() {
        return;
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Adds what a preflight asks for.
pub(crate) fn apply_preflight(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}
