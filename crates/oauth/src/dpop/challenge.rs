//! The `WWW-Authenticate: DPoP …` challenge of a resource server (RFC 9449 §7.1, RFC 9110 §11.6.1).

use http::{HeaderMap, header::WWW_AUTHENTICATE};

use crate::token::printable;

/// Longest `WWW-Authenticate` value that is read, in bytes.
const MAX_BYTES: usize = 4096;

/// What a resource server says in a DPoP challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DpopChallenge {
    /// The `error` parameter: `use_dpop_nonce`, `invalid_token`, `invalid_dpop_proof`, `insufficient_scope`, …
    pub error: Option<String>,
    /// The `error_description` parameter, at most 200 printable characters.
    pub description: Option<String>,
}

impl DpopChallenge {
    /// Finds the first DPoP challenge among all `WWW-Authenticate` headers of an answer.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| Self::parse(value.to_str().ok()?))
    }

    /// Finds the first DPoP challenge in one `WWW-Authenticate` value, which may hold challenges of other schemes.
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > MAX_BYTES {
            return None;
        }
        let mut found: Option<Self> = None;
        let mut rest = value;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return found;
            }
            let (name, after) = split_word(rest)?;
            let spaced = after.trim_start_matches([' ', '\t']);
            if let Some(after_equals) = spaced.strip_prefix('=') {
                let (text, after) = split_value(after_equals.trim_start_matches([' ', '\t']))?;
                if let Some(challenge) = &mut found {
                    challenge.take(name, &text);
                }
                rest = after;
            } else if found.is_some() {
                return found;
            } else {
                if name.eq_ignore_ascii_case("dpop") {
                    found = Some(Self::default());
                }
                rest = after;
            }
        }
    }

    /// Whether the server asks for a proof with its nonce.
    pub fn wants_nonce(&self) -> bool {
        self.error.as_deref() == Some("use_dpop_nonce")
    }

    /// Whether the access token is expired, revoked or unknown, so that a newer one may help.
    pub fn rejects_access_token(&self) -> bool {
        self.error.as_deref() == Some("invalid_token")
    }

    fn take(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("error") && self.error.is_none() {
            self.error = Some(printable(value, 200));
        } else if name.eq_ignore_ascii_case("error_description") && self.description.is_none() {
            self.description = Some(printable(value, 200));
        }
    }
}

/// Splits a token (or the characters of a token68) off the front; `None` when there is none.
fn split_word(text: &str) -> Option<(&str, &str)> {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Splits a parameter value off the front: a quoted string, a token, or the padding of a token68.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_challenges_of_the_real_server() {
        let nonce = DpopChallenge::parse(
            r#"DPoP algs="RS256 RS384 ES256 ES512", error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof""#,
        )
        .unwrap();
        assert!(nonce.wants_nonce() && !nonce.rejects_access_token());
        assert_eq!(nonce.description.unwrap(), "Resource server requires nonce in DPoP proof");
        let expired = DpopChallenge::parse(r#"DPoP algs="ES256", error="invalid_token""#).unwrap();
        assert!(expired.rejects_access_token() && !expired.wants_nonce());
        assert_eq!(expired.description, None);
    }

    #[test]
    fn parameters_belong_to_their_own_scheme() {
        let other_first = DpopChallenge::parse(r#"Bearer error="invalid_token", dpop error="use_dpop_nonce""#).unwrap();
        assert!(other_first.wants_nonce());
        let other_last = DpopChallenge::parse(r#"DPoP algs="ES256", Bearer error="invalid_token""#).unwrap();
        assert_eq!(other_last.error, None);
        assert_eq!(DpopChallenge::parse(r#"Bearer error="use_dpop_nonce""#), None);
        assert!(DpopChallenge::parse("Negotiate YWJj==, DPoP error=use_dpop_nonce").unwrap().wants_nonce());
    }

    #[test]
    fn quoting_is_undone_and_the_first_value_counts() {
        let challenge =
            DpopChallenge::parse(r#"DPoP error="in\valid_token", error="x", error_description="a \"b\", c""#).unwrap();
        assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
        assert_eq!(challenge.description.as_deref(), Some("a \"b\", c"));
    }

    #[test]
    fn broken_and_oversized_values_are_no_challenge() {
        for bad in ["", "DPoP error=\"open", "\"DPoP\"", "=", &format!("DPoP error=\"{}\"", "a".repeat(5000))] {
            assert_eq!(DpopChallenge::parse(bad), None, "{bad}");
        }
        assert_eq!(DpopChallenge::parse("DPoP"), Some(DpopChallenge::default()));
    }

    #[test]
    fn every_header_of_the_answer_is_looked_at() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("DPoP error=\"invalid_token\""));
        assert!(DpopChallenge::from_headers(&headers).unwrap().rejects_access_token());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(value in "\\PC{0,80}", tail in "[ ,=\"\\\\a-zD]{0,60}") {
            DpopChallenge::parse(&value);
            DpopChallenge::parse(&format!("DPoP {tail}"));
        }

        #[test]
        fn a_quoted_error_comes_back(error in "[a-z_]{1,30}", description in "[ -~]{1,60}") {
            let quoted = description.replace('\\', "\\\\").replace('"', "\\\"");
            let value = format!("Basic realm=\"x\", DPoP error=\"{error}\", error_description=\"{quoted}\", algs=ES256");
            let challenge = DpopChallenge::parse(&value).unwrap();
            prop_assert_eq!(challenge.error.unwrap(), error);
            prop_assert_eq!(challenge.description.unwrap(), description);
        }
    }
}
