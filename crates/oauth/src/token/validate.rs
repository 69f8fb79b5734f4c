//! The judgement of a token answer (<https://atproto.com/specs/oauth#tokens-and-session-lifetime>).

use super::{TokenAnswer, printable};
use crate::{Secret, scope::ScopeSet};

/// Largest token of either kind, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest DID, in bytes (<https://atproto.com/specs/did>).
const MAX_DID: usize = 2048;
/// Longest scope string, in bytes: permission sets expand to many.
const MAX_SCOPE: usize = 64 * 1024;
/// Assumed lifetime of an access token whose server does not say, in seconds.
const DEFAULT_EXPIRES_IN: u32 = 300;
/// Longest lifetime that is believed, in seconds: a day.
const MAX_EXPIRES_IN: f64 = 86_400.0;

/// What the caller already knows about the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpectedAnswer<'a> {
    /// The DID that the login began with, or that the refreshed credential belongs to; `None` when the login began
    /// with a server: then the `sub` must be walked back to the issuer before it is believed.
    pub sub: Option<&'a str>,
}

/// Tokens of an answer that passed every check that needs no network.
#[derive(Clone, Debug)]
pub struct ValidatedTokens {
    /// The access token: opaque, for the `Authorization: DPoP` header.
    pub access_token: Secret,
    /// The refresh token, when the server gave one.
    pub refresh_token: Option<Secret>,
    /// The account's DID.
    pub sub: String,
    /// What was granted: perhaps less than asked for, perhaps expanded.
    pub scope: ScopeSet,
    /// Seconds until the access token expires, 0 to 86 400; 300 when the server did not say.
    pub expires_in: u32,
}

/// Why a token answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenAnswerError {
    /// There is no access token.
    #[error("the authorization server gave no access token")]
    AccessTokenMissing,
    /// A token is longer than 16 KB.
    #[error("the authorization server gave a token of more than 16 KB")]
    TokenTooLarge,
    /// A token is empty or has other characters than visible ASCII, so that no header can carry it.
    #[error("the authorization server gave a token that no header can carry")]
    TokenMalformed,
    /// The token type is missing or not `DPoP`: a stolen token would work anywhere.
    #[error("the authorization server gave a token of type {found:?}; DPoP is required")]
    DpopRequired {
        /// The type, at most 40 printable characters.
        found: String,
    },
    /// There is no `sub`.
    #[error("the authorization server did not say whose token it is (sub)")]
    SubjectMissing,
    /// `sub` is not a DID of at most 2048 bytes.
    #[error("the authorization server's sub is not a DID")]
    SubjectMalformed,
    /// `sub` is another account than expected.
    #[error("the authorization server gave a token of {found}, not of {expected}; sign in with the right account")]
    SubjectMismatch {
        /// The expected DID.
        expected: String,
        /// The DID that came.
        found: String,
    },
    /// There is no `scope`.
    #[error("the authorization server did not say what it granted (scope)")]
    ScopeMissing,
    /// The granted scope lacks `atproto`.
    #[error("the authorization server did not grant `atproto`")]
    AtprotoNotGranted,
}

pub(super) fn validate(
    answer: &TokenAnswer,
    expected: &ExpectedAnswer<'_>,
) -> Result<ValidatedTokens, TokenAnswerError> {
    let token_type = answer.token_type.as_deref().unwrap_or_default();
    if !token_type.eq_ignore_ascii_case("dpop") {
        return Err(TokenAnswerError::DpopRequired { found: printable(token_type, 40) });
    }
    let access_token = answer.access_token.as_ref().ok_or(TokenAnswerError::AccessTokenMissing)?;
    check_token(access_token)?;
    answer.refresh_token.as_ref().map_or(Ok(()), check_token)?;
    let sub = answer.sub.as_deref().ok_or(TokenAnswerError::SubjectMissing)?;
    if !is_did(sub) {
        return Err(TokenAnswerError::SubjectMalformed);
    }
    if let Some(expected) = expected.sub.filter(|expected| *expected != sub) {
        return Err(TokenAnswerError::SubjectMismatch { expected: expected.to_owned(), found: sub.to_owned() });
    }
    let scope = answer.scope.as_deref().filter(|scope| scope.len() <= MAX_SCOPE);
    let scope = ScopeSet::granted(scope.ok_or(TokenAnswerError::ScopeMissing)?);
    if !scope.has_atproto() {
        return Err(TokenAnswerError::AtprotoNotGranted);
    }
    Ok(ValidatedTokens {
        access_token: access_token.clone(),
        refresh_token: answer.refresh_token.clone(),
        sub: sub.to_owned(),
        scope,
        expires_in: clamp_expires_in(answer.expires_in),
    })
}

fn check_token(token: &Secret) -> Result<(), TokenAnswerError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenAnswerError::TokenTooLarge);
    }
    if token.is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenAnswerError::TokenMalformed);
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 – 86 400 before")]
fn clamp_expires_in(expires_in: Option<f64>) -> u32 {
    match expires_in {
        Some(seconds) if !seconds.is_nan() => seconds.clamp(0.0, MAX_EXPIRES_IN) as u32,
        _ => DEFAULT_EXPIRES_IN,
    }
}

/// Whether a text is a DID by the AT Protocol's grammar (<https://atproto.com/specs/did>), of any method.
pub(crate) fn is_did(text: &str) -> bool {
    let Some((method, id)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else { return false };
    let id_fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte);
    text.len() <= MAX_DID
        && !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_lowercase())
        && !id.is_empty()
        && id.bytes().all(id_fits)
        && !id.ends_with([':', '%'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    fn good() -> TokenAnswer {
        TokenAnswer {
            access_token: Some(Secret::new("at-1")),
            refresh_token: Some(Secret::new("ref-1")),
            token_type: Some("DPoP".to_owned()),
            scope: Some("atproto transition:generic".to_owned()),
            sub: Some(DID.to_owned()),
            expires_in: Some(3599.0),
        }
    }

    fn fault(edit: impl FnOnce(&mut TokenAnswer)) -> TokenAnswerError {
        let mut answer = good();
        edit(&mut answer);
        answer.validate(&ExpectedAnswer { sub: Some(DID) }).unwrap_err()
    }

    #[test]
    fn a_good_answer_passes_with_and_without_expectation() {
        let tokens = good().validate(&ExpectedAnswer { sub: Some(DID) }).unwrap();
        assert_eq!((tokens.sub.as_str(), tokens.expires_in), (DID, 3599));
        assert!(tokens.refresh_token.unwrap().matches("ref-1"));
        assert!(good().validate(&ExpectedAnswer::default()).is_ok());
    }

    #[test]
    fn token_types_other_than_dpop_are_refused() {
        for lucky in ["dpop", "DPOP", "dPoP"] {
            let answer = TokenAnswer { token_type: Some(lucky.to_owned()), ..good() };
            assert!(answer.validate(&ExpectedAnswer::default()).is_ok(), "{lucky}");
        }
        assert_eq!(
            fault(|a| a.token_type = Some("Bearer".into())),
            TokenAnswerError::DpopRequired { found: "Bearer".into() }
        );
        assert_eq!(fault(|a| a.token_type = None), TokenAnswerError::DpopRequired { found: String::new() });
    }

    #[test]
    fn subjects_that_are_no_did_are_refused() {
        assert_eq!(fault(|a| a.sub = None), TokenAnswerError::SubjectMissing);
        for bad in [
            "",
            "alice.test",
            "did:plc:",
            "did:PLC:a",
            "did:plc:a\r\nb",
            "did:plc:a b",
            "did:web:a:",
            "did:plc:ä",
            "DID:plc:a",
        ] {
            assert_eq!(fault(|a| a.sub = Some(bad.into())), TokenAnswerError::SubjectMalformed, "{bad:?}");
        }
        let long = format!("did:plc:{}", "a".repeat(5000));
        assert_eq!(fault(|a| a.sub = Some(long)), TokenAnswerError::SubjectMalformed);
        let longest = format!("did:plc:{}", "a".repeat(2040));
        assert!(is_did(&longest) && !is_did(&format!("{longest}a")));
    }

    #[test]
    fn another_subject_is_refused() {
        let other = "did:web:victim.example";
        let expected = TokenAnswerError::SubjectMismatch { expected: DID.into(), found: other.into() };
        assert_eq!(fault(|a| a.sub = Some(other.into())), expected);
    }

    #[test]
    fn scope_must_hold_atproto_and_may_differ_otherwise() {
        assert_eq!(fault(|a| a.scope = None), TokenAnswerError::ScopeMissing);
        for bad in ["", "transition:generic", "atprotox", "ATPROTO"] {
            assert_eq!(fault(|a| a.scope = Some(bad.into())), TokenAnswerError::AtprotoNotGranted, "{bad}");
        }
        for good_scope in ["atproto", "atproto repo:app.bsky.feed.post rpc:x.y.z?aud=* future:thing", "x atproto"] {
            let answer = TokenAnswer { scope: Some(good_scope.to_owned()), ..good() };
            assert_eq!(answer.validate(&ExpectedAnswer::default()).unwrap().scope.to_string(), good_scope);
        }
    }

    #[test]
    fn tokens_that_are_missing_huge_or_unsendable_are_refused() {
        assert_eq!(fault(|a| a.access_token = None), TokenAnswerError::AccessTokenMissing);
        let huge = || Some(Secret::new("a".repeat(MAX_TOKEN + 1)));
        assert_eq!(fault(|a| a.access_token = huge()), TokenAnswerError::TokenTooLarge);
        assert_eq!(fault(|a| a.refresh_token = huge()), TokenAnswerError::TokenTooLarge);
        for bad in ["", "a b", "a\r\nCookie: x", "ä"] {
            assert_eq!(fault(|a| a.access_token = Some(Secret::new(bad))), TokenAnswerError::TokenMalformed, "{bad:?}");
        }
        let without = TokenAnswer { refresh_token: None, ..good() };
        assert!(without.validate(&ExpectedAnswer::default()).unwrap().refresh_token.is_none());
    }

    #[test]
    fn lifetimes_are_clamped() {
        for (given, taken) in [
            (None, 300),
            (Some(f64::NAN), 300),
            (Some(-5.0), 0),
            (Some(0.0), 0),
            (Some(1.9), 1),
            (Some(3599.0), 3599),
            (Some(1e18), 86_400),
            (Some(f64::INFINITY), 86_400),
        ] {
            let answer = TokenAnswer { expires_in: given, ..good() };
            assert_eq!(answer.validate(&ExpectedAnswer::default()).unwrap().expires_in, taken, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_and_judging_any_body_never_panics(body: Vec<u8>, json in "\\{(\"(access_token|sub|scope|token_type|expires_in)\":(\"\\PC{0,9}\"|-?[0-9e]{1,6}|null|\\[\\]),?){0,5}\\}") {
            for body in [body.as_slice(), json.as_bytes()] {
                let answer = http::Response::builder().status(200).body(body).unwrap();
                if let Ok(answer) = TokenAnswer::read(&answer) {
                    let _judged = answer.validate(&ExpectedAnswer::default());
                }
            }
        }
    }
}
