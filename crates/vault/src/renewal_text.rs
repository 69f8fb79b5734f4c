//! The refresh strings that apps hold: a line, a place in it, and a MAC over both.
//!
//! ```text
//! bbr_ ‖ base64url(line (16) ‖ place (8, big endian) ‖ HMAC-SHA-256 (32))
//! ```
//!
//! A string says nothing and opens nothing by itself: where its line stands is for the store to say. It is made from its
//! place, so that whoever repeats an exchange whose answer was lost gets the very same successor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::{RenewalLine, Secret};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

const PREFIX: &str = "bbr_";
const LINE_BYTES: usize = 16;
const HEAD_BYTES: usize = LINE_BYTES + 8;
const MAC_BYTES: usize = 32;
/// Of the part behind the prefix: 56 bytes in base64url.
const TEXT_LENGTH: usize = (HEAD_BYTES + MAC_BYTES).div_ceil(3) * 4 - 1;

/// Writes and reads refresh strings. Its keys are derived from the secrets of the seals, newest first: strings of every
/// listed secret are read, and the newest writes.
#[derive(Clone)]
pub struct RenewalTexts(Vec<Zeroizing<[u8; 32]>>);

impl RenewalTexts {
    pub(crate) fn derive(secrets: &[Secret]) -> Self {
        let keys = secrets.iter().filter_map(|secret| {
            let mut key = Zeroizing::new([0; 32]);
            let derived = Hkdf::<Sha256>::new(Some(b"bowerbird renewal v1"), secret.expose().as_bytes())
                .expand(b"refresh string of an app", &mut *key);
            derived.ok().map(|()| key)
        });
        Self(keys.collect())
    }

    /// Writes the string of a place; None only without any secret, which no ring has.
    pub fn write(&self, line: &RenewalLine, place: i64) -> Option<Secret> {
        let head = head(line, place);
        let mut bytes = Zeroizing::new(head.to_vec());
        bytes.extend_from_slice(&mac(self.0.first()?, &head)?);
        let mut text = String::with_capacity(PREFIX.len() + TEXT_LENGTH + 1);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Some(Secret::new(text))
    }

    /// Reads a string; None for anything that is not authentic.
    pub fn read(&self, text: &str) -> Option<(RenewalLine, i64)> {
        let encoded = text.strip_prefix(PREFIX).filter(|rest| rest.len() == TEXT_LENGTH)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
        let (head, found) = bytes.split_at_checked(HEAD_BYTES)?;
        let mut authentic = Choice::from(0);
        for key in &self.0 {
            authentic |= mac(key, head)?.as_slice().ct_eq(found);
        }
        if !bool::from(authentic) {
            return None;
        }
        let (line, place) = head.split_at_checked(LINE_BYTES)?;
        Some((RenewalLine(line.try_into().ok()?), i64::from_be_bytes(place.try_into().ok()?)))
    }
}

fn head(line: &RenewalLine, place: i64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..LINE_BYTES].copy_from_slice(&line.0);
    head[LINE_BYTES..].copy_from_slice(&place.to_be_bytes());
    head
}

fn mac(key: &[u8; 32], head: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(head);
    Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: RenewalLine = RenewalLine([7; 16]);

    fn texts(secrets: &[&str]) -> RenewalTexts {
        RenewalTexts::derive(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>())
    }

    #[test]
    fn a_place_has_one_string_which_reads_back_under_every_listed_secret() {
        let old = texts(&["old"]);
        let written = old.write(&LINE, 41).unwrap();
        assert!(written.matches(old.write(&LINE, 41).unwrap().expose()), "the same for whoever asks again");
        assert_eq!(written.len(), PREFIX.len() + TEXT_LENGTH);
        let rotated = texts(&["new", "old"]);
        assert_eq!(rotated.read(written.expose()), Some((LINE, 41)));
        assert!(!rotated.write(&LINE, 41).unwrap().matches(written.expose()), "the newest writes");
        assert_eq!(texts(&["new"]).read(written.expose()), None);
        assert_ne!(old.write(&LINE, 42).unwrap().expose(), written.expose());
    }

    #[test]
    fn nothing_else_is_read() {
        let texts = texts(&["secret"]);
        let good = texts.write(&LINE, 1).unwrap();
        let good = good.expose();
        for bad in ["", "bbr_", &good[..good.len() - 1], &format!("{good}A"), &good[4..], &good.to_uppercase()] {
            assert_eq!(texts.read(bad), None, "{bad}");
        }
        for at in PREFIX.len()..good.len() {
            let mut altered = good.to_owned();
            let other = if &good[at..=at] == "A" { "B" } else { "A" };
            altered.replace_range(at..=at, other);
            assert_eq!(texts.read(&altered), None, "{altered}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(line: [u8; 16], place: i64) {
            let texts = texts(&["secret"]);
            let line = RenewalLine(line);
            proptest::prop_assert_eq!(texts.read(texts.write(&line, place).unwrap().expose()), Some((line, place)));
        }

        #[test]
        fn any_text_is_survived(text in "(bbr_)?\\PC{0,100}") {
            proptest::prop_assert_eq!(texts(&["secret"]).read(&text), None);
        }
    }
}
