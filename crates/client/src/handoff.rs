//! The sign-in by hand-off: what the app opens, and what may come back (document: PKCE on the app's own hop).
//!
//! The browser brings a one-time code to the app's scheme. Another app may claim that scheme too, so the code alone is
//! worth nothing: it is exchanged together with the verifier, which never left this device.

use bowerbird_core::{Secret, Timestamp};
use bowerbird_oauth::pkce::PkceVerifier;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::store::StoreFault;

/// How long a sign-in may take, in seconds; the server forgets it after that too.
const LIFETIME: i64 = 600;
/// How many codes are tried against one verifier; the server burns a code after three wrong verifiers.
pub(crate) const MAX_CODES: u8 = 3;
/// The longest address that is looked at.
const MAX_CALLBACK: usize = 8 * 1024;

/// Where the browser returns to: the app's own scheme, or an https app link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// As it was written: the server compares it letter by letter.
    text: String,
    url: Url,
}

/// Why an address is none that a sign-in may come back to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackFault {
    /// It is not the app's registered address.
    #[error("that is not the address that a sign-in comes back to")]
    NotOurs,
    /// It holds a session token. An app that took one from an address could be signed in as somebody else by a link.
    #[error(
        "the address holds a session token, which must never be in one; set BOWERBIRD_MOBILE_HANDOFF=code on the server"
    )]
    TokenInUrl,
    /// It has neither code nor error, or more than one of them.
    #[error("the address that came back is malformed")]
    Malformed,
    /// No sign-in is under way here, or it took too long.
    #[error("no sign-in is under way; please start again")]
    NotStarted,
    /// The person, or their server, said no.
    #[error("the sign-in was refused: {error}")]
    Refused {
        /// The error's code, such as `access_denied`.
        error: String,
        /// In words, as the server gave them; show it as plain text.
        description: Option<String>,
    },
}

impl Redirect {
    /// Parses the address that is registered with the server as `BOWERBIRD_MOBILE_SCHEME`, such as `app://auth-callback`.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= 256 && text.is_ascii())?;
        let scheme_ok = match url.scheme() {
            "http" | "javascript" | "data" | "file" | "blob" | "about" | "intent" | "ws" | "wss" | "ftp" => false,
            "https" => url.has_host(),
            _ => true,
        };
        let bare = url.query().is_none() && url.fragment().is_none() && !has_userinfo(&url);
        (scheme_ok && bare).then(|| Self { text: text.to_owned(), url })
    }

    /// An address on this device at which a program listens for the browser, such as `http://127.0.0.1:5000/callback`.
    #[cfg(feature = "on-device")]
    pub(crate) fn parse_loopback(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "http")?;
        let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]"));
        let bare = url.query().is_none() && url.fragment().is_none() && !has_userinfo(&url);
        (here && bare).then(|| Self { text: text.to_owned(), url })
    }

    /// The scheme, by which a system browser knows where the app is (`callbackURLScheme` on iOS).
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The address, as the server must know it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// An address that came back, if it is this one with something behind it.
    pub(crate) fn recognize(&self, callback: &str) -> Result<Url, CallbackFault> {
        if callback.len() > MAX_CALLBACK {
            return Err(CallbackFault::NotOurs);
        }
        let url = Url::parse(callback).map_err(|_| CallbackFault::NotOurs)?;
        let place = |url: &Url| {
            let path = url.path().trim_end_matches('/').to_owned();
            (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default(), path)
        };
        if place(&url) == place(&self.url) && !has_userinfo(&url) { Ok(url) } else { Err(CallbackFault::NotOurs) }
    }

    /// Takes the code out of an address that came back.
    pub(crate) fn read(&self, callback: &str) -> Result<Secret, CallbackFault> {
        let url = self.recognize(callback)?;
        let mut code = None;
        let mut error = None;
        let mut description = None;
        for (name, value) in url.query_pairs() {
            let slot = match &*name {
                "session_token" | "access_token" | "refresh_token" => return Err(CallbackFault::TokenInUrl),
                "code" => &mut code,
                "error" => &mut error,
                "error_description" => &mut description,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(CallbackFault::Malformed);
            }
        }
        match (code, error) {
            (Some(code), None) if !code.is_empty() => Ok(Secret::new(code)),
            (None, Some(error)) => {
                let clip = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
                Err(CallbackFault::Refused { error: clip(error), description: description.map(clip) })
            }
            _ => Err(CallbackFault::Malformed),
        }
    }
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A sign-in under way, as it is kept until the browser returns, also while the app is not running.
pub(crate) struct SignInUnderWay {
    pub(crate) verifier: PkceVerifier,
    pub(crate) started_at: Timestamp,
    pub(crate) codes_tried: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    verifier: Secret,
    started_at: Timestamp,
    codes_tried: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keeping<'a> {
    verifier: &'a str,
    started_at: Timestamp,
    codes_tried: u8,
}

impl SignInUnderWay {
    /// Whether the browser may still come back for it.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        let age = now.millis_since(self.started_at);
        self.codes_tried < MAX_CODES && (-60_000..=LIFETIME * 1000).contains(&age)
    }

    pub(crate) fn to_secret(&self) -> Result<Secret, StoreFault> {
        let keeping = Keeping {
            verifier: self.verifier.secret().expose(),
            started_at: self.started_at,
            codes_tried: self.codes_tried,
        };
        serde_json::to_string(&keeping).map(Secret::new).map_err(|_| StoreFault::Damaged("a sign-in cannot be written"))
    }

    /// `None` when what was kept is not of this kit: then there is no sign-in to go on with.
    pub(crate) fn from_secret(secret: &Secret) -> Option<Self> {
        let Kept { verifier, started_at, codes_tried } = serde_json::from_str(secret.expose()).ok()?;
        Some(Self { verifier: PkceVerifier::parse(verifier.expose())?, started_at, codes_tried })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(redirect: &str, callback: &str) -> Result<String, CallbackFault> {
        Redirect::parse(redirect).unwrap().read(callback).map(|code| code.expose().to_owned())
    }

    #[test]
    fn the_code_of_our_own_address() {
        assert_eq!(read("app://auth-callback", "app://auth-callback?code=a%2Bb").unwrap(), "a+b");
        assert_eq!(read("app://auth-callback", "app://auth-callback/?code=x&state=s").unwrap(), "x");
        assert_eq!(read("https://app.example/auth", "https://APP.example:443/auth?code=x").unwrap(), "x");
        assert_eq!(read("limit://auth", "limit://auth?code=x#f").unwrap(), "x");
    }

    #[test]
    fn foreign_and_malformed_addresses() {
        use CallbackFault::{Malformed, NotOurs, TokenInUrl};
        for (callback, fault) in [
            ("app://auth?code=x", NotOurs),
            ("other://auth-callback?code=x", NotOurs),
            ("app://auth-callback/more?code=x", NotOurs),
            ("app://auth-callback.evil.example?code=x", NotOurs),
            ("app://auth-callback:1?code=x", NotOurs),
            ("app://me@auth-callback?code=x", NotOurs),
            ("", NotOurs),
            ("app://auth-callback", Malformed),
            ("app://auth-callback?code=", Malformed),
            ("app://auth-callback?code=x&code=y", Malformed),
            ("app://auth-callback?code=x&error=y", Malformed),
            ("app://auth-callback?session_token=Fe26.2*x&did=did:plc:x&handle=eve", TokenInUrl),
            ("app://auth-callback?code=x&session_token=y", TokenInUrl),
        ] {
            assert_eq!(read("app://auth-callback", callback), Err(fault), "{callback}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_clean_words() {
        let refused = read("app://cb", "app://cb?error=access_denied&error_description=No%0A%1b[2J").unwrap_err();
        let expected = CallbackFault::Refused { error: "access_denied".into(), description: Some("No[2J".into()) };
        assert_eq!(refused, expected);
    }

    #[test]
    fn only_schemes_of_apps() {
        for good in ["app://auth-callback", "com.example.app:/cb", "https://app.example/cb", "limit://auth"] {
            assert!(Redirect::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "http://app.example/cb", "javascript:alert(1)", "app://cb?x=1", "app://cb#x", "intent://cb", "cb"]
        {
            assert!(Redirect::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_sign_in_survives_the_store_and_ends() {
        let start = SignInUnderWay {
            verifier: PkceVerifier::from_entropy(&[7; 64]),
            started_at: Timestamp::from_seconds(1000),
            codes_tried: 2,
        };
        let mut read = SignInUnderWay::from_secret(&start.to_secret().unwrap()).unwrap();
        assert_eq!(read.verifier.challenge(), start.verifier.challenge());
        let alive = |read: &SignInUnderWay, at| read.is_alive(Timestamp::from_seconds(at));
        assert!(alive(&read, 1000) && alive(&read, 1600) && !alive(&read, 1601) && !alive(&read, 900));
        read.codes_tried = 3;
        assert!(!alive(&read, 1000));
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_a_code_comes_back_whole(code in "\\PC{1,60}", noise in "\\PC{0,60}") {
            let mut url = Url::parse("app://cb").unwrap();
            url.query_pairs_mut().append_pair("code", &code);
            prop_assert_eq!(read("app://cb", url.as_str()).unwrap(), code);
            let _ignored = read("app://cb", &noise);
            let _ignored = SignInUnderWay::from_secret(&Secret::new(noise));
        }
    }
}
