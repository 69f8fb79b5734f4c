//! The syntax below the meaning: `resource[:positional][?name=value&name=value]`.

/// One permission taken apart: names and values are percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) resource: String,
    positional: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Parts {
    /// Takes a scope apart; `None` when it does not have the syntax of a permission.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (head, query) = match text.split_once('?') {
            Some((head, query)) => (head, Some(query)),
            None => (text, None),
        };
        let (resource, positional) = match head.split_once(':') {
            Some((resource, positional)) => (resource, Some(decode(positional)?)),
            None => (head, None),
        };
        if resource.is_empty() || !resource.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let mut parameters = Vec::new();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=')?;
            parameters.push((decode(name)?, decode(value)?));
        }
        Some(Self { resource: resource.to_owned(), positional, parameters })
    }

    /// All values of the parameter that may also stand in the positional place; `None` when it stands in both.
    pub(super) fn positional_or(&self, name: &str) -> Option<Vec<&str>> {
        let named = self.all(name);
        match &self.positional {
            Some(_) if !named.is_empty() => None,
            Some(value) => Some(vec![value]),
            None => Some(named),
        }
    }

    /// All values of a named parameter.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a parameter that may appear once; `Err` when it appears more often.
    pub(super) fn single(&self, name: &str) -> Result<Option<&str>, ()> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(()),
        }
    }

    /// Whether every named parameter is one of these; a permission with others is not understood (and so ignored).
    pub(super) fn knows_only(&self, names: &[&str]) -> bool {
        self.parameters.iter().all(|(name, _)| names.contains(&name.as_str()))
    }
}

/// Prints a permission: one value in the positional place, several as repeated parameters.
pub(super) fn print(resource: &str, positional_name: &str, positional: &[&str], rest: &[(&str, &str)]) -> String {
    let mut out = resource.to_owned();
    let mut separator = '?';
    let mut push = |out: &mut String, name: &str, value: &str| {
        out.push(separator);
        separator = '&';
        out.push_str(name);
        out.push('=');
        encode(value, out);
    };
    match positional {
        [one] => {
            out.push(':');
            encode(one, &mut out);
        }
        several => several.iter().for_each(|value| push(&mut out, positional_name, value)),
    }
    for (name, value) in rest {
        push(&mut out, name, value);
    }
    out
}

/// Percent-encodes what would change the meaning; `:`, `/`, `+`, `,` and `@` stay as people write them.
fn encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b':' | b'/' | b'+' | b',' | b'@' => {
                out.push(char::from(byte));
            }
            other => {
                out.push('%');
                out.push(char::from(HEX[usize::from(other >> 4)]));
                out.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
}

/// Undoes percent-encoding; `None` for a broken escape, or when the result is not UTF-8. `+` is a plus here.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Whether a text is a namespaced identifier (<https://atproto.com/specs/nsid>).
pub(super) fn is_nsid(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let [authority @ .., name] = labels.as_slice() else { return false };
    let label_fits = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top_fits = authority.first().is_some_and(|label| !label.starts_with(|first: char| first.is_ascii_digit()));
    let name_fits = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !name.starts_with(|first: char| first.is_ascii_digit());
    text.len() <= 317 && authority.len() >= 2 && authority.iter().all(label_fits) && top_fits && name_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded() {
        let parts = Parts::parse("rpc:app.bsky.a?aud=did:web:x.example%23svc&aud=b").unwrap();
        assert_eq!(parts.resource, "rpc");
        assert_eq!(parts.positional_or("lxm").unwrap(), ["app.bsky.a"]);
        assert_eq!(parts.all("aud"), ["did:web:x.example#svc", "b"]);
        assert_eq!(parts.single("aud"), Err(()));
        assert_eq!(parts.single("lxm"), Ok(None));
    }

    #[test]
    fn a_parameter_may_not_stand_in_both_places() {
        assert_eq!(Parts::parse("repo:a.b.c?collection=d.e.f").unwrap().positional_or("collection"), None);
    }

    #[test]
    fn broken_syntax_is_no_permission() {
        for bad in ["", ":a", "Repo:a", "re po", "repo?", "repo?a", "repo:%", "repo:%4", "repo:%zz", "repo?a=%ff"] {
            assert_eq!(Parts::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nsids_follow_the_specification() {
        for good in ["app.bsky.feed.post", "com.example.a", "a-0.b-1.c", "com.example.fooBar2"] {
            assert!(is_nsid(good), "{good}");
        }
        let long = format!("com.{}.a", "x".repeat(64));
        for bad in [
            "",
            "a",
            "a.b",
            "com.example.",
            "com..a",
            "1com.example.a",
            "com.example.2a",
            "com.-x.a",
            "com.example.a-b",
            "com.example.*",
            "com.exa mple.a",
            &long,
        ] {
            assert!(!is_nsid(bad), "{bad}");
        }
    }
}
