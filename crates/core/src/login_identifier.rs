//! What a person types to sign in.

use url::Url;

use crate::{Did, Handle};

/// A login can start from an account (handle or DID) or from a server (PDS or entryway).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginIdentifier {
    /// A handle; its DID is resolved and both directions verified.
    Handle(Handle),
    /// A DID.
    Did(Did),
    /// The address of a server; who signs in is known only from its answer.
    Server(Url),
}

/// Why a text cannot start a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginIdentifierError {
    /// Nothing was entered.
    #[error("Enter a handle such as alice.bsky.social")]
    Missing,
    /// The text is neither handle, DID nor server address.
    #[error("Invalid handle")]
    Invalid,
}

impl LoginIdentifier {
    /// Reads what a person typed: spaces, a leading `@`, an `at://` prefix and the invisible marks that phones add on
    /// copy and paste are dropped.
    pub fn parse(text: &str) -> Result<Self, LoginIdentifierError> {
        let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
        let text = visible.trim();
        let text = text.strip_prefix("at://").or_else(|| text.strip_prefix('@')).unwrap_or(text);
        if text.is_empty() {
            return Err(LoginIdentifierError::Missing);
        }
        if text.starts_with("did:") {
            return Did::parse(text).map(Self::Did).map_err(|_| LoginIdentifierError::Invalid);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return server(text).map(Self::Server).ok_or(LoginIdentifierError::Invalid);
        }
        Handle::parse(text).map(Self::Handle).map_err(|_| LoginIdentifierError::Invalid)
    }

    /// The text that an authorization server gets as `login_hint`; none for a server address.
    pub fn login_hint(&self) -> Option<&str> {
        match self {
            Self::Handle(handle) => Some(handle.as_str()),
            Self::Did(did) => Some(did.as_str()),
            Self::Server(_) => None,
        }
    }
}

/// A server address is an origin: no user, no query, no fragment, and only `/` as its path.
fn server(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    (bare && url.has_host()).then_some(url)
}

/// Zero-width and bidirectional marks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{00AD}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgives_what_people_paste() {
        for text in ["alice.test", " @Alice.test\n", "at://alice.test", "\u{202A}alice.test\u{202C}"] {
            assert!(
                matches!(LoginIdentifier::parse(text), Ok(LoginIdentifier::Handle(h)) if h.as_str() == "alice.test"),
                "{text:?}"
            );
        }
        assert!(matches!(LoginIdentifier::parse("did:web:example.com"), Ok(LoginIdentifier::Did(_))));
        assert!(matches!(LoginIdentifier::parse("https://bsky.social"), Ok(LoginIdentifier::Server(_))));
    }

    #[test]
    fn refuses_the_rest() {
        assert_eq!(LoginIdentifier::parse(" @ "), Err(LoginIdentifierError::Missing));
        assert_eq!(LoginIdentifier::parse(""), Err(LoginIdentifierError::Missing));
        for text in [
            "alice",
            "https://user@host.test/",
            "https://host.test/path",
            "https://host.test/?q",
            "https://host.test/#f",
            "javascript:alert(1)",
            "https://",
            "a.test/../b",
        ] {
            assert_eq!(LoginIdentifier::parse(text), Err(LoginIdentifierError::Invalid), "{text:?}");
        }
    }
}
