//! Where a login may return to: an absolute path of this origin, nothing else (security row 13).

use url::Url;

/// The longest path that is kept, in bytes.
const MAX_BYTES: usize = 1024;

/// The path to return to, or `/` for anything that is not clearly a path of this origin.
///
/// The text must already look like a path, and must still be one of ours after a browser's own (WHATWG) parsing: what
/// tabs, backslashes and dots make of it is decided there, not by us.
pub(crate) fn return_to(base_url: &Url, wanted: Option<&str>) -> String {
    wanted.and_then(|text| same_origin_path(base_url, text)).unwrap_or_else(|| "/".to_owned())
}

fn same_origin_path(base_url: &Url, text: &str) -> Option<String> {
    let plain = text.len() <= MAX_BYTES
        && text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\');
    if !plain {
        return None;
    }
    let url = base_url.join(text).ok().filter(|url| url.origin() == base_url.origin())?;
    let mut path = url.path().to_owned();
    // `/.//evil.example` becomes `//evil.example` once the dots are taken out. Encoded slashes are left alone by
    // browsers, but a proxy in front of us may decode them.
    let lower = path.to_ascii_lowercase();
    if path.starts_with("//") || lower.starts_with("/%2f") || lower.starts_with("/%5c") || lower.starts_with("/%09") {
        return None;
    }
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    if let Some(fragment) = url.fragment() {
        path.push('#');
        path.push_str(fragment);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        Url::parse("https://bower.example/").unwrap()
    }

    #[test]
    fn paths_of_this_origin_are_kept() {
        for (wanted, kept) in [
            ("/", "/"),
            ("/a/b?c=d#e", "/a/b?c=d#e"),
            ("/a/../b", "/b"),
            ("/a//b", "/a//b"),
            ("/?next=https://evil.example", "/?next=https://evil.example"),
            ("/@evil.example", "/@evil.example"),
        ] {
            assert_eq!(return_to(&base(), Some(wanted)), kept);
        }
        assert_eq!(return_to(&base(), None), "/");
    }

    proptest! {
        #[test]
        fn every_answer_stays_at_home(text in "(/|\\\\|%2f|%5c|\\.|\t|\r|\n|:|@|https:|javascript:|evil\\.example|a|\\?|#){0,8}") {
            let path = return_to(&base(), Some(&text));
            prop_assert!(path.starts_with('/') && !path.starts_with("//"));
            let followed = base().join(&path).unwrap();
            prop_assert_eq!(followed.origin(), base().origin());
            // And it is stable: checking again changes nothing.
            prop_assert_eq!(return_to(&base(), Some(&path)), path);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}") {
            let path = return_to(&base(), Some(&text));
            prop_assert_eq!(base().join(&path).unwrap().origin(), base().origin());
        }
    }
}
