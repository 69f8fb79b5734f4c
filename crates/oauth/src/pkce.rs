//! Proof Key for Code Exchange with S256 (RFC 7636); the `plain` method does not exist here.

use subtle::ConstantTimeEq;

use crate::{
    Secret,
    jose::{base64url, sha256},
};

/// A code verifier: 43 to 128 unreserved characters (RFC 7636 §4.1), a secret until the code is exchanged.
#[derive(Clone, Debug)]
pub struct PkceVerifier(Secret);

impl PkceVerifier {
    /// Makes a verifier of 86 characters from 64 fresh random bytes.
    pub fn from_entropy(entropy: &[u8; 64]) -> Self {
        Self(Secret::new(base64url(entropy)))
    }

    /// Takes a verifier back from storage or from a client; `None` unless it is well formed.
    pub fn parse(text: &str) -> Option<Self> {
        verifier_is_well_formed(text).then(|| Self(Secret::new(text)))
    }

    /// The verifier as text, for the token request or for storing it encrypted.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The S256 challenge: base64url of the SHA-256 of the verifier (RFC 7636 §4.2).
    pub fn challenge(&self) -> String {
        base64url(sha256(self.0.expose().as_bytes()))
    }
}

/// Checks a verifier against an S256 challenge in constant time; malformed input of either kind is just wrong.
pub fn verify_s256(verifier: &str, challenge: &str) -> bool {
    if !verifier_is_well_formed(verifier) || !challenge_is_well_formed(challenge) {
        return false;
    }
    base64url(sha256(verifier.as_bytes())).as_bytes().ct_eq(challenge.as_bytes()).into()
}

/// Whether a text has the grammar of a code verifier (RFC 7636 §4.1).
pub fn verifier_is_well_formed(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

/// Whether a text can be an S256 challenge: exactly 43 base64url characters.
pub fn challenge_is_well_formed(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn appendix_b_vector() {
        assert_eq!(PkceVerifier::parse(VERIFIER).unwrap().challenge(), CHALLENGE);
        assert!(verify_s256(VERIFIER, CHALLENGE));
    }

    #[test]
    fn wrong_and_malformed_pairs_are_refused() {
        assert!(!verify_s256(CHALLENGE, CHALLENGE), "plain is not accepted");
        assert!(!verify_s256(&VERIFIER.replace('d', "e"), CHALLENGE));
        assert!(!verify_s256("", ""));
        assert!(!verify_s256(&VERIFIER[..42], CHALLENGE));
        let short = "a".repeat(42);
        assert!(!verify_s256(&short, &base64url(sha256(short.as_bytes()))), "a short verifier is refused");
        let long = "a".repeat(129);
        assert!(!verify_s256(&long, &base64url(sha256(long.as_bytes()))));
        let odd = format!("{}+", "a".repeat(50));
        assert!(!verify_s256(&odd, &base64url(sha256(odd.as_bytes()))));
        assert!(!verify_s256(VERIFIER, &format!("{CHALLENGE}=")), "padding is refused");
        assert!(PkceVerifier::parse(&long).is_none());
        assert!(!challenge_is_well_formed(&CHALLENGE.replace('-', "+")));
    }

    proptest! {
        #[test]
        fn verifiers_from_entropy_are_well_formed_and_match(entropy: [u8; 32], other: [u8; 32]) {
            let verifier_of = |half: [u8; 32]| PkceVerifier::from_entropy(&[half; 2].concat().try_into().unwrap());
            let (verifier, stranger) = (verifier_of(entropy), verifier_of(other));
            prop_assert!(verifier_is_well_formed(verifier.secret().expose()));
            prop_assert!(challenge_is_well_formed(&verifier.challenge()));
            prop_assert!(verify_s256(verifier.secret().expose(), &verifier.challenge()));
            prop_assert_eq!(verify_s256(stranger.secret().expose(), &verifier.challenge()), entropy == other);
        }

        #[test]
        fn verification_never_panics(verifier: String, challenge: String) {
            verify_s256(&verifier, &challenge);
        }
    }
}
