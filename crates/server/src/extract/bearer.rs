//! `Authorization: Bearer <seal>` (RFC 6750 §2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What the header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer<'a> {
    /// No such header.
    Missing,
    /// Something to open.
    Seal(&'a [u8]),
    /// Two headers, another scheme, or nothing after the scheme.
    Unusable,
}

/// Reads the header. The scheme's case does not matter (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Bearer::Missing };
    if values.next().is_some() {
        return Bearer::Unusable;
    }
    let bytes = value.as_bytes();
    match bytes.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") && !rest.trim_ascii().is_empty() => {
            Bearer::Seal(rest.trim_ascii())
        }
        _ => Bearer::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_header_of_one_scheme() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            match bearer(&headers) {
                Bearer::Missing => "missing".to_owned(),
                Bearer::Unusable => "unusable".to_owned(),
                Bearer::Seal(seal) => String::from_utf8(seal.to_vec()).unwrap(),
            }
        };
        assert_eq!(read(&["Bearer Fe26.2*x"]), "Fe26.2*x");
        assert_eq!(read(&["bearer  y "]), "y");
        assert_eq!(read(&[]), "missing");
        for bad in [&["Bearer"][..], &["Bearer "], &["Basic abc"], &["DPoP abc"], &["Bearer a", "Bearer a"], &[""]] {
            assert_eq!(read(bad), "unusable", "{bad:?}");
        }
    }
}
