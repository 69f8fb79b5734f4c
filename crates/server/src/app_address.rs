//! Where an app waits for the end of a sign-in: a custom scheme, or an https app link. Only the operator says which
//! addresses there are (security row 63); a client may choose among them, letter by letter.

use std::str::FromStr;

use url::{Host, Url};

/// The longest address, in bytes.
const MAX_BYTES: usize = 512;
/// Schemes that a browser or a system acts on by itself: none of them reaches an app of the operator's.
const FOREIGN: [&str; 26] = [
    "http",
    "javascript",
    "vbscript",
    "data",
    "blob",
    "file",
    "filesystem",
    "about",
    "view-source",
    "ws",
    "wss",
    "ftp",
    "ftps",
    "intent",
    "android-app",
    "content",
    "market",
    "itms-apps",
    "itms-services",
    "chrome",
    "edge",
    "resource",
    "mailto",
    "tel",
    "sms",
    "ssh",
];

/// The address of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppAddress(String);

/// Why a text cannot be the address of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppAddressError {
    /// Not of the form.
    #[error("write an address such as myapp://auth-callback or https://app.example.org/auth-callback, without ? and #")]
    Form,
    /// A scheme that is not an app's own.
    #[error("that scheme belongs to browsers and systems, not to an app; take one of your own")]
    ForeignScheme,
}

impl AppAddress {
    /// The text, as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an app link: an https address, which systems give to the app that the domain names.
    pub fn is_link(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for AppAddress {
    type Err = AppAddressError;

    fn from_str(text: &str) -> Result<Self, AppAddressError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/@!$&'()*+,;=%[]".contains(&b);
        let (scheme, rest) = text.split_once(':').ok_or(AppAddressError::Form)?;
        let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
        let formed = text.len() <= MAX_BYTES
            && text.bytes().all(plain)
            && scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(name)
            && rest.starts_with('/')
            && rest != "//";
        if !formed {
            return Err(AppAddressError::Form);
        }
        if FOREIGN.contains(&scheme) {
            return Err(AppAddressError::ForeignScheme);
        }
        if scheme == "https" {
            let url = Url::parse(text).map_err(|_| AppAddressError::Form)?;
            let named = matches!(url.host(), Some(Host::Domain(_)));
            if !named || !url.username().is_empty() || url.password().is_some() || url.as_str() != text {
                return Err(AppAddressError::Form);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_have_schemes_of_their_own_or_links() {
        for good in [
            "app://auth-callback",
            "limit://auth",
            "com.example.app:/oauth2redirect",
            "myapp:///auth/callback",
            "https://app.example.org/auth-callback",
        ] {
            assert_eq!(good.parse::<AppAddress>().map(|address| address.0), Ok(good.to_owned()));
        }
        assert!("https://app.example.org/a".parse::<AppAddress>().unwrap().is_link());
        assert!(!"https-app://a".parse::<AppAddress>().unwrap().is_link());
    }

    #[test]
    fn row_63_nothing_that_a_browser_acts_on_is_an_app() {
        for bad in [
            "javascript://auth/%0aalert(1)",
            "data://text/html,x",
            "intent://scan/#Intent;end",
            "http://app.example.org/a",
            "file:///etc/passwd",
            "vbscript://x",
            "blob://x",
            "about:/blank",
            "view-source://x",
            "ftp://x/y",
            "https://user@app.example.org/a",
            "https://127.0.0.1/a",
            "https://APP.example.org/a",
            "https://app.example.org",
            "app://auth?x=1",
            "app://auth#x",
            "App://auth",
            "app:auth",
            "app://",
            "app",
            "",
            "://auth",
            "1app://auth",
            "app://auth callback",
            "app://auth\r\nset-cookie: x",
            "app://a\"b",
            "app://<b>",
            "app://\u{e4}",
            "app:\\\\auth",
        ] {
            assert!(bad.parse::<AppAddress>().is_err(), "{bad}");
        }
        assert!(format!("app://{}", "a".repeat(600)).parse::<AppAddress>().is_err());
    }
}
