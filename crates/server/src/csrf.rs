//! Cross-site request forgery (security row 59): an unsafe request that is carried by a cookie must come from our own
//! pages or a listed origin, and must show something that no foreign page can make a browser send.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::DeviceSessionId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::error::ApiError;
use crate::site::Site;

/// The header that no form and no simple request can carry.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("bowerbird-csrf");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const PURPOSE: &[u8] = b"bowerbird form 1";

/// Whether a method can change anything.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Checks an unsafe request of a script or an app: origin, and the header.
pub(crate) fn check_header(headers: &HeaderMap, site: &Site) -> Result<(), ApiError> {
    check_origin(headers, site)?;
    check_marked(headers)
}

fn check_marked(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(CSRF_HEADER).is_some_and(|value| value == "1") {
        Ok(())
    } else {
        Err(ApiError::forbidden(
            "csrf_header_missing",
            "A request with a cookie, or a sign-in, needs one more header here",
        )
        .with_hint("Send `Bowerbird-CSRF: 1`"))
    }
}

/// Checks an unsafe request of a script or an app that shows no credential: not from another site's page, and with the
/// header.
pub(crate) fn check_header_of_anybody(headers: &HeaderMap, site: &Site) -> Result<(), ApiError> {
    check_not_cross_site(headers, site)?;
    check_marked(headers)
}

/// Refuses what a browser page of another site may have sent. For requests without credentials only.
pub(crate) fn check_not_cross_site(headers: &HeaderMap, site: &Site) -> Result<(), ApiError> {
    if is_not_cross_site(headers, site) { Ok(()) } else { check_origin(headers, site) }
}

/// Checks that a request comes from our own pages or from a listed origin.
pub(crate) fn check_origin(headers: &HeaderMap, site: &Site) -> Result<(), ApiError> {
    if is_same_origin(headers, site) {
        Ok(())
    } else {
        Err(ApiError::forbidden("cross_site_request", "That request did not come from this site")
            .with_hint("Open this site and try again from there; an app lists its origin in BOWERBIRD_CORS_ORIGINS"))
    }
}

/// Whether a browser page of another site certainly did not send this. For requests without credentials only.
pub(crate) fn is_not_cross_site(headers: &HeaderMap, site: &Site) -> bool {
    is_same_origin(headers, site) || (!headers.contains_key(ORIGIN) && !headers.contains_key(SEC_FETCH_SITE))
}

/// Whether a request shows no trace of a browser: neither `Origin`, `Referer` nor any `Sec-Fetch-…`. Browsers send at
/// least one of them with every unsafe request across sites.
pub(crate) fn is_not_a_browser(headers: &HeaderMap) -> bool {
    !headers.contains_key(ORIGIN)
        && !headers.contains_key(REFERER)
        && !headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Whether a page of our own sent this, in the browser that goes on with what it begins; not that of a listed origin.
pub(crate) fn is_own_page(headers: &HeaderMap, site: &Site) -> bool {
    let is_ours = |origin: &HeaderValue| origin.as_bytes() == site.origin.as_bytes() || origin == "null";
    is_same_origin(headers, site) && headers.get(ORIGIN).is_none_or(is_ours)
}

fn is_same_origin(headers: &HeaderMap, site: &Site) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next();
    if origins.next().is_some() {
        return false;
    }
    // `Origin: null` says nothing: some browsers write it for our own forms too.
    if let Some(origin) = origin.filter(|origin| *origin != "null") {
        return site.admits_origin(origin);
    }
    headers.get(SEC_FETCH_SITE).is_some_and(|value| value == "same-origin" || value == "none")
}

/// The token that our forms carry: bound to the device session, which nobody else knows the name of.
pub(crate) fn form_token(device: &DeviceSessionId) -> String {
    // An HMAC key may have any length, so that this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(device.as_str().as_bytes()) else { return String::new() };
    mac.update(PURPOSE);
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Checks a form's token, in constant time.
pub(crate) fn check_form(
    headers: &HeaderMap,
    site: &Site,
    device: &DeviceSessionId,
    token: Option<&str>,
) -> Result<(), ApiError> {
    check_origin(headers, site)?;
    let expected = form_token(device);
    let matches = token.is_some_and(|token| bool::from(token.as_bytes().ct_eq(expected.as_bytes())));
    if matches && !expected.is_empty() {
        Ok(())
    } else {
        Err(ApiError::forbidden("form_expired", "That page was open for too long or belongs to an earlier sign-in")
            .with_hint("Go back to the start page and try again"))
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;

    use super::*;
    use crate::site::tests::site;

    fn same_origin(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        is_same_origin(&headers, &site("https://bower.example"))
    }

    #[test]
    fn who_counts_as_ourselves() {
        assert!(same_origin(&[("sec-fetch-site", "same-origin")]));
        assert!(same_origin(&[("sec-fetch-site", "none")]));
        assert!(same_origin(&[("origin", "https://bower.example")]));
        assert!(same_origin(&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")]));
        assert!(same_origin(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        for bad in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "https://bower.example.evil.example")],
            &[("origin", "https://evil-bower.example")],
            &[("origin", "http://bower.example")],
            &[("origin", "https://bower.example:8443")],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://bower.example"), ("origin", "https://evil.example")],
        ] {
            assert!(!same_origin(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_form_token_fits_one_device_only() {
        let entropy = SeededEntropy::new(1);
        let (one, two) = (DeviceSessionId::random(&entropy), DeviceSessionId::random(&entropy));
        let site = site("https://bower.example");
        let mut headers = HeaderMap::new();
        headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
        let token = form_token(&one);
        assert!(check_form(&headers, &site, &one, Some(&token)).is_ok());
        assert!(check_form(&headers, &site, &two, Some(&token)).is_err());
        assert!(check_form(&headers, &site, &one, None).is_err());
        assert!(check_form(&headers, &site, &one, Some("")).is_err());
        assert!(check_form(&HeaderMap::new(), &site, &one, Some(&token)).is_err());
    }
}
