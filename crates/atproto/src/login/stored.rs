//! How a login under way is kept: sealed, under a key that only the same browser can name again.
//!
//! # The state, the browser and the key
//! The `state` on the wire is 256 random bits and, after a dot, a mark: the first bytes of a digest of the browser
//! binding. The record's key is the SHA-256 of the state *and* the binding. So
//!
//! - a callback in another browser does not find the record and cannot take it: the victim's login is not burned, and
//!   the mark says "another browser" (`login_session_mismatch`) instead of "unknown" without a look at the store;
//! - of any number of callbacks in the right browser one gets the record, since taking is atomic in the store;
//! - a read database starts no callback: neither state nor binding can be had from the key.
//!
//! The mark tells nothing: the binding is itself the digest of a random cookie.

use bowerbird_core::{BrowserBinding, Secret, StateHash};
use sha2::{Digest, Sha256};

use crate::encoding::base64url;

/// Bytes of the mark: enough that two browsers never share one by accident.
const MARK_BYTES: usize = 9;

/// Puts the mark of a browser behind the random part of a state.
pub(crate) fn marked_state(random: &str, browser: Option<&BrowserBinding>) -> Secret {
    Secret::new(format!("{random}.{}", mark(browser)))
}

/// What a state of a callback says about where its login began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateOrigin {
    /// Here, in the browser that is calling, or without any browser. Holds the binding that belongs to the key.
    Here(Option<BrowserBinding>),
    /// In another browser.
    Elsewhere,
    /// It is none of our states.
    Unknown,
}

/// Looks at the mark of a state.
pub(crate) fn state_origin(state: &str, browser: Option<&BrowserBinding>) -> StateOrigin {
    let Some((_, found)) = state.rsplit_once('.') else { return StateOrigin::Unknown };
    if found.len() != MARK_BYTES.div_ceil(3) * 4 {
        return StateOrigin::Unknown;
    }
    match browser {
        // A login that began without a browser (the library face) may end in any.
        _ if found == mark(None) => StateOrigin::Here(None),
        Some(browser) if found == mark(Some(browser)) => StateOrigin::Here(Some(*browser)),
        _ => StateOrigin::Elsewhere,
    }
}

/// The key of a login's record.
pub(crate) fn state_key(state: &str, browser: Option<&BrowserBinding>) -> StateHash {
    let mut digest = Sha256::new();
    digest.update(b"bowerbird login state\0");
    digest.update(browser.map_or([0; 32], |browser| browser.0));
    digest.update(state.as_bytes());
    StateHash(digest.finalize().into())
}

fn mark(browser: Option<&BrowserBinding>) -> String {
    let mut digest = Sha256::new();
    digest.update(b"bowerbird login browser\0");
    digest.update(browser.map_or(&[][..], |browser| &browser.0));
    let digest: [u8; 32] = digest.finalize().into();
    base64url(digest.get(..MARK_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: BrowserBinding = BrowserBinding([1; 32]);
    const ELSEWHERE: BrowserBinding = BrowserBinding([2; 32]);

    #[test]
    fn the_mark_tells_browsers_apart_and_the_key_needs_both() {
        let state = marked_state("random", Some(&HERE));
        let state = state.expose();
        assert_eq!(state_origin(state, Some(&HERE)), StateOrigin::Here(Some(HERE)));
        assert_eq!(state_origin(state, Some(&ELSEWHERE)), StateOrigin::Elsewhere);
        assert_eq!(state_origin(state, None), StateOrigin::Elsewhere);
        assert_ne!(state_key(state, Some(&HERE)), state_key(state, Some(&ELSEWHERE)));
        assert_ne!(state_key(state, Some(&HERE)), state_key(state, None));
        let unbound = marked_state("random", None);
        assert_eq!(state_origin(unbound.expose(), Some(&HERE)), StateOrigin::Here(None));
        for forged in ["", "random", "random.", "random.x", "random.AAAAAAAAAAAAA"] {
            assert_eq!(state_origin(forged, Some(&HERE)), StateOrigin::Unknown, "{forged}");
        }
    }

    proptest::proptest! {
        #[test]
        fn only_a_marked_state_is_ever_ours(state in "\\PC{0,64}", random in "[A-Za-z0-9_-]{0,50}", a: [u8; 32], b: [u8; 32]) {
            let here = BrowserBinding(a);
            proptest::prop_assert!(!matches!(state_origin(&state, Some(&here)), StateOrigin::Here(_)));
            let ours = marked_state(&random, Some(&here));
            proptest::prop_assert_eq!(state_origin(ours.expose(), Some(&here)), StateOrigin::Here(Some(here)));
            let other = BrowserBinding(b);
            let elsewhere = state_origin(ours.expose(), Some(&other));
            proptest::prop_assert_eq!(elsewhere == StateOrigin::Elsewhere, a != b);
        }
    }
}
