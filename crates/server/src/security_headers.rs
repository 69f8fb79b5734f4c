//! The headers that every answer carries.

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::site::Site;

/// Who may keep a hold of a window.
pub(crate) const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const API_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds what is missing. A handler may have set a policy, a cache rule or a referrer rule of its own.
pub(crate) fn apply(headers: &mut HeaderMap, site: &Site) {
    headers.reserve(8);
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, API_POLICY);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
    if !headers.contains_key(REFERRER_POLICY) {
        headers.insert(REFERRER_POLICY, NO_REFERRER);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if !headers.contains_key(COOP) {
        headers.insert(COOP, SAME_ORIGIN);
    }
    headers.insert(CORP, SAME_ORIGIN);
    if site.https {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
}

/// The policy of a page: our own style sheet and pictures, no script at all.
///
/// `form-action` names `https:` as well, since Chromium holds the redirects that follow a form to it too, and a sign-in
/// form ends at the account's own server, wherever that is. A development server may send people to plain http on
/// loopback.
pub(crate) fn page_policy(site: &Site) -> HeaderValue {
    policy(site, "")
}

/// The same for a page with one script of ours, which calls nobody but us. By nonce, not by origin: what the proxy passes
/// on comes from our origin too.
pub(crate) fn script_policy(site: &Site, nonce: &str) -> HeaderValue {
    policy(site, &format!("script-src 'nonce-{nonce}'; connect-src 'self'; "))
}

fn policy(site: &Site, scripts: &str) -> HeaderValue {
    let development = if site.loopback { " http://localhost:* http://127.0.0.1:*" } else { "" };
    let policy = format!(
        "default-src 'none'; {scripts}style-src 'self'; img-src 'self' data:; form-action 'self' https:{development}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(API_POLICY)
}

/// The referrer rule of a page with forms: with `no-referrer`, browsers would send `Origin: null` with our own forms.
pub(crate) const PAGE_REFERRER_POLICY: HeaderValue = SAME_ORIGIN;
