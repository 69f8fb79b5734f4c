//! The name of a request in answers and in the log. Made only when one of them needs it.

use bowerbird_core::ports::Entropy;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header in which a request id comes and goes.
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id that the client (or the proxy in front of us) gave, if it is harmless in a log: 1 to 64 letters, digits,
/// `-`, `_` and `.`.
pub(crate) fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID_HEADER)?;
    let bytes = value.as_bytes();
    let plain = (1..=64).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain.then(|| value.clone())
}

/// A new id of 64 random bits.
pub(crate) fn random(entropy: &dyn Entropy) -> HeaderValue {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    HeaderValue::from_str(&format!("{:016x}", u64::from_be_bytes(bytes))).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID_HEADER, HeaderValue::from_str(value).unwrap());
            given(&headers).is_some()
        };
        assert!(of("7f-a_b.C"));
        for bad in ["", "a b", "a\"b", "<x>", &"a".repeat(65)] {
            assert!(!of(bad), "{bad}");
        }
    }
}
