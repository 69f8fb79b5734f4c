//! Which headers pass, in both directions (security rows 68, 69, 71). Both lists name what passes; the rest is
//! dropped without a look.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Names the service that the account's server passes the call on to.
pub(crate) const ATPROTO_PROXY: HeaderName = HeaderName::from_static("atproto-proxy");

/// The request headers that pass.
static TO_SERVER: [HeaderName; 13] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    ATPROTO_PROXY,
    HeaderName::from_static("atproto-accept-labelers"),
    HeaderName::from_static("x-bsky-topics"),
];

/// The response headers that pass.
static TO_CLIENT: [HeaderName; 15] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    RETRY_AFTER,
    HeaderName::from_static("atproto-content-labelers"),
    HeaderName::from_static("atproto-repo-rev"),
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// A picture, sound or film that no browser takes for a document.
pub(crate) const RASTER_IMAGES: [&str; 8] =
    ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/heic", "image/jxl"];

/// The headers of a call that go on to the account's server.
pub(crate) fn to_server(received: &HeaderMap) -> HeaderMap {
    pick(received, &TO_SERVER, 0)
}

/// The headers of an answer that go on to the client, and those that make it harmless in our origin: a browser must
/// not take it for a page, run it, or share it.
pub(crate) fn to_client(received: &HeaderMap) -> HeaderMap {
    // Three or four of our own here, and six of the server's.
    let mut headers = pick(received, &TO_CLIENT, 10);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if !is_shown_inline(received.get(CONTENT_TYPE)) {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers
}

/// Those of the names, with room for more.
fn pick(received: &HeaderMap, names: &[HeaderName], room: usize) -> HeaderMap {
    let passes = |name: &&HeaderName| names.contains(name);
    let mut picked = HeaderMap::with_capacity(received.keys().filter(passes).count() + room);
    for name in received.keys().filter(passes) {
        // One value each: a second Content-Type is a way to make two readers disagree.
        if let Some(value) = received.get(name) {
            picked.insert(name.clone(), value.clone());
        }
    }
    picked
}

/// JSON, raster images, sound and film. Anything else, and anything without a type, becomes a download.
fn is_shown_inline(content_type: Option<&HeaderValue>) -> bool {
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let starts = |prefix: &str| essence.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let plain = essence.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'+'));
    plain
        && (essence.eq_ignore_ascii_case("application/json")
            || RASTER_IMAGES.iter().any(|known| essence.eq_ignore_ascii_case(known))
            || starts("video/")
            || starts("audio/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn row_68_and_69_only_named_headers_reach_the_server() {
        let sent = to_server(&map(&[
            ("authorization", "Bearer client"),
            ("dpop", "client"),
            ("cookie", "sid=1"),
            ("connection", "authorization"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_user", "root"),
            ("forwarded", "for=10.0.0.1"),
            ("x-original-url", "/admin"),
            ("proxy-authorization", "x"),
            ("host", "evil.example"),
            ("origin", "https://evil.example"),
            ("referer", "https://evil.example"),
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("content-type", "text/html"),
            ("atproto-accept-labelers", "did:plc:a;redact"),
        ]));
        let mut lines: Vec<String> = sent.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(
            lines,
            ["accept: application/json", "atproto-accept-labelers: did:plc:a;redact", "content-type: application/json"]
        );
    }

    #[test]
    fn row_69_nothing_of_the_server_that_steers_a_browser_reaches_it() {
        let got = to_client(&map(&[
            ("set-cookie", "sid=evil"),
            ("location", "https://evil.example"),
            ("access-control-allow-origin", "*"),
            ("strict-transport-security", "max-age=1"),
            ("www-authenticate", "DPoP"),
            ("dpop-nonce", "n"),
            ("content-security-policy", "default-src *"),
            ("cache-control", "public, max-age=31536000"),
            ("clear-site-data", "\"*\""),
            ("refresh", "0;url=https://evil.example"),
            ("link", "</x>; rel=preload"),
            ("x-content-type-options", "no"),
            ("content-disposition", "inline"),
            ("content-type", "application/json; charset=utf-8"),
            ("atproto-repo-rev", "3k"),
            ("ratelimit-remaining", "7"),
        ]));
        let mut lines: Vec<String> = got.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "atproto-repo-rev: 3k",
                "cache-control: private, no-cache",
                "content-security-policy: sandbox; default-src 'none'",
                "content-type: application/json; charset=utf-8",
                "ratelimit-remaining: 7",
                "x-content-type-options: nosniff",
            ]
        );
    }

    #[test]
    fn row_71_what_could_be_a_page_becomes_a_download() {
        let inline = |kind: &'static str| is_shown_inline(Some(&HeaderValue::from_static(kind)));
        for kind in ["application/json", "Application/JSON;charset=utf-8", "image/png", "video/mp4", "audio/ogg"] {
            assert!(inline(kind), "{kind}");
        }
        for kind in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xhtml+xml",
            "application/pdf",
            "text/plain",
            "text/javascript",
            "application/vnd.ipld.car",
            "application/json, text/html",
            "image/png,text/html",
            "multipart/x-mixed-replace",
            "",
        ] {
            assert!(!inline(kind), "{kind}");
        }
        assert!(!is_shown_inline(None));
    }
}
