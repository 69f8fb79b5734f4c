//! Namespaced identifiers: the names of XRPC methods (AT Protocol specification, "NSID").

use std::fmt;

/// A syntactically valid NSID, such as `app.bsky.feed.getTimeline`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nsid(String);

/// A text that is not an NSID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not a method name; a method name looks like app.bsky.feed.getTimeline")]
pub struct NsidError;

impl Nsid {
    /// Parses by the grammar: a reversed domain of two or more labels (the first starts with a letter), then a name
    /// of letters and digits that starts with a letter; 317 bytes at most. Case is kept.
    pub fn parse(text: &str) -> Result<Self, NsidError> {
        if text.len() > 317 {
            return Err(NsidError);
        }
        let (authority, name) = text.rsplit_once('.').ok_or(NsidError)?;
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let authority_ok = authority.len() <= 253
            && authority.contains('.')
            && authority.starts_with(|c: char| c.is_ascii_alphabetic())
            && authority.split('.').all(label_ok);
        let name_ok = (1..=63).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if authority_ok && name_ok { Ok(Self(text.to_owned())) } else { Err(NsidError) }
    }

    /// The text, as it was parsed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_and_invalid_by_the_specification() {
        for good in [
            "com.example.fooBar",
            "net.users.bob.ping",
            "a-0.b-1.c",
            "a.b.c",
            "cn.8.lex.stuff",
            "com.atproto.repo.createRecord",
        ] {
            assert!(Nsid::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "com.example",
            "com.example.",
            ".com.example.a",
            "com.example.3",
            "com.exa💩ple.thing",
            "a.0.1",
            "com..a.b",
            "com.example.foo-bar",
            "com.example.foo/bar",
            "com.example.foo%2fbar",
            "-a.b.c",
            "8.a.b",
            "com.example.*",
        ] {
            assert_eq!(Nsid::parse(bad), Err(NsidError), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_nsid_is_safe_in_a_path(text in "\\PC{0,80}") {
            if let Ok(nsid) = Nsid::parse(&text) {
                prop_assert!(nsid.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
            }
        }
    }
}
