//! Server-chosen nonces (RFC 9449 §8).

use http::HeaderMap;

use super::DPOP_NONCE_HEADER;

/// Longest nonce that is kept, in bytes; a longer one is dropped as if it had not been sent.
const MAX_BYTES: usize = 256;

/// A nonce that a server wants to see in the next proof: 1 to 256 characters of NQCHAR (RFC 6749 appendix A).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DpopNonce(String);

impl DpopNonce {
    /// Takes a nonce; `None` when it is empty, too long or has other characters than NQCHAR.
    pub fn parse(text: &str) -> Option<Self> {
        let nqchar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let fits = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(nqchar);
        fits.then(|| Self(text.to_owned()))
    }

    /// The nonce of an answer, whatever its status: servers send fresh ones with successes too (RFC 9449 §8.2).
    ///
    /// More than one header of that name is a fault of the server, and none of them is taken.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&DPOP_NONCE_HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(Self::parse),
            _ => None,
        }
    }

    /// The nonce as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_short_nqchar_nonces_are_taken() {
        assert_eq!(DpopNonce::parse("a-B_9~.!").unwrap().as_str(), "a-B_9~.!");
        assert!(DpopNonce::parse(&"n".repeat(256)).is_some());
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "ä", "a\u{7f}", &"n".repeat(257), &"n".repeat(10_240)] {
            assert!(DpopNonce::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn exactly_one_header_is_taken() {
        let mut headers = HeaderMap::new();
        assert!(DpopNonce::from_headers(&headers).is_none());
        headers.append("DPoP-Nonce", HeaderValue::from_static("one"));
        assert_eq!(DpopNonce::from_headers(&headers).unwrap().as_str(), "one");
        headers.append("dpop-nonce", HeaderValue::from_static("two"));
        assert!(DpopNonce::from_headers(&headers).is_none());
    }
}
