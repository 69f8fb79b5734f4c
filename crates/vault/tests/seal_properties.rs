//! Seals under attack: rows 50 to 53 and 55 of the attack catalogue.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{DeviceSessionId, Did, Secret, Timestamp};
use bowerbird_vault::iron::{self, IronKey, MAX_SEAL_BYTES};
use bowerbird_vault::{SealCache, SealError, SealPayload, SealRing, SealRingError, unnamed_device};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
const WEEK: Duration = Duration::from_hours(7 * 24);
const OLD: &str = "the-older-secret-of-at-least-32-characters";
const NEW: &str = "the-newer-secret-of-at-least-32-characters";

fn ring(secrets: &[&str]) -> SealRing {
    SealRing::new(secrets.iter().map(|secret| Secret::new(*secret)).collect()).unwrap()
}

fn payload() -> SealPayload {
    SealPayload {
        did: Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap(),
        sid: DeviceSessionId::parse("00112233445566778899aabbccddeeff").unwrap(),
        created_at: NOW,
        last_accessed: NOW.plus_millis(1),
    }
}

fn sealed(ring: &SealRing, seed: u64) -> Secret {
    ring.seal(&payload(), WEEK, NOW, &SeededEntropy::new(seed))
}

#[test]
fn a_seal_opens_to_what_was_sealed() {
    let ring = ring(&[NEW, OLD]);
    let opened = ring.open(sealed(&ring, 1).expose(), NOW).unwrap();
    assert_eq!(opened.payload, payload());
    assert!(opened.sealed_with_newest);
    assert_eq!(opened.expires_at, Some(NOW.plus_seconds(7 * 24 * 3600)));
    assert!(sealed(&ring, 1).len() < 500);
}

#[test]
fn the_longest_did_still_fits() {
    let ring = ring(&[NEW]);
    let did = Did::parse(&format!("did:web:{}", "a".repeat(2040))).unwrap();
    let seal = ring.seal(&SealPayload { did, ..payload() }, WEEK, NOW, &SeededEntropy::new(1));
    assert!(seal.len() <= MAX_SEAL_BYTES);
    assert!(ring.open(seal.expose(), NOW).is_ok());
}

#[test]
fn row_50_every_flipped_bit_is_refused() {
    let ring = ring(&[NEW, OLD]);
    for seed in 0..4 {
        let seal = sealed(&ring, seed);
        for bit in 0..seal.len() * 8 {
            let mut bytes = seal.expose().as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // What is not UTF-8 cannot even be asked about.
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(ring.open(&text, NOW).is_err(), "bit {bit} of seed {seed}");
            }
        }
    }
}

#[test]
fn row_51_every_truncation_is_refused() {
    let ring = ring(&[NEW]);
    let seal = sealed(&ring, 1);
    for length in 0..seal.len() {
        assert!(ring.open(&seal.expose()[..length], NOW).is_err(), "{length}");
        assert!(ring.open(&seal.expose()[length + 1..], NOW).is_err(), "{length} from the end");
    }
    // Without `~2` it is authentic but of the older form, in which our payload is not where it should be.
    assert_eq!(ring.open(seal.expose().trim_end_matches("~2"), NOW), Err(SealError::WrongPayload));
    assert_eq!(ring.open(&"*".repeat(1 << 20), NOW), Err(SealError::Malformed));
    assert_eq!(ring.open("", NOW), Err(SealError::Malformed));
    for extra in ["*", "~2", " ", "*junk", "\0"] {
        assert!(ring.open(&format!("{}{extra}", seal.expose()), NOW).is_err(), "{extra:?}");
    }
    let older = seal.expose().replacen("Fe26.2", "Fe26.1", 1);
    assert_eq!(ring.open(&older, NOW), Err(SealError::Malformed));
}

#[test]
fn row_52_old_secrets_open_until_they_are_taken_out() {
    let before = ring(&[OLD]);
    let old_seal = sealed(&before, 1);
    assert!(old_seal.expose().starts_with("Fe26.2*1*"));
    assert!(before.open(old_seal.expose(), NOW).unwrap().sealed_with_newest);

    let rotated = ring(&[NEW, OLD]);
    assert!(!rotated.open(old_seal.expose(), NOW).unwrap().sealed_with_newest);
    let new_seal = sealed(&rotated, 2);
    assert!(new_seal.expose().starts_with("Fe26.2*2*"));

    // Taking the old one out renumbers the new one; its seals open all the same.
    let after = ring(&[NEW]);
    assert_eq!(after.open(old_seal.expose(), NOW), Err(SealError::BadMac));
    assert!(after.open(new_seal.expose(), NOW).unwrap().sealed_with_newest);
    assert_eq!(before.open(new_seal.expose(), NOW), Err(SealError::UnknownKey));
}

#[test]
fn row_53_expiry_has_a_minute_of_allowance() {
    let ring = ring(&[NEW]);
    let seal = ring.seal(&payload(), Duration::from_secs(100), NOW, &SeededEntropy::new(1));
    let end = NOW.plus_seconds(100);
    assert!(ring.open(seal.expose(), end.plus_millis(59_999)).is_ok());
    assert_eq!(ring.open(seal.expose(), end.plus_millis(60_000)), Err(SealError::Expired));
    let endless = ring.seal(&payload(), Duration::ZERO, NOW, &SeededEntropy::new(1));
    assert_eq!(ring.open(endless.expose(), NOW.plus_seconds(1 << 40)).unwrap().expires_at, None);
}

#[test]
fn row_55_a_seal_of_one_kind_never_opens_as_another() {
    let ring = ring(&[NEW, OLD]);
    let entropy = SeededEntropy::new(1);
    let purposes = ["login", "csrf", "mobile-code"];
    // The content is that of a device session on purpose: the keys alone must tell the kinds apart.
    let json = br#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid","sid":"00112233445566778899aabbccddeeff","createdAt":1,"lastAccessed":1}"#;
    let blobs = purposes.map(|purpose| ring.for_purpose(purpose).seal(json, WEEK, NOW, &entropy));
    for (sealed_for, blob) in purposes.iter().zip(&blobs) {
        assert_eq!(ring.open(blob.expose(), NOW), Err(SealError::BadMac), "{sealed_for} as a session");
        for opened_for in purposes {
            let result = ring.for_purpose(opened_for).open(blob.expose(), NOW);
            assert_eq!(result.is_ok(), *sealed_for == opened_for, "{sealed_for} as {opened_for}");
        }
    }
    for purpose in purposes {
        let result = ring.for_purpose(purpose).open(sealed(&ring, 2).expose(), NOW);
        assert_eq!(result.err(), Some(SealError::BadMac), "a session as {purpose}");
    }
}

#[test]
fn row_55_an_authentic_seal_without_a_session_is_refused() {
    let ring = ring(&[NEW]);
    let key = IronKey::new(NEW).unwrap();
    for json in [
        r#"{"sid":"00112233445566778899aabbccddeeff","createdAt":1,"lastAccessed":1}"#,
        r#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid","sid":"short","createdAt":1,"lastAccessed":1}"#,
        r#"{"did":"not-a-did","sid":"00112233445566778899aabbccddeeff","createdAt":1,"lastAccessed":1}"#,
        r#"{"did":"did:plc:a","did":"did:plc:b","sid":"00112233445566778899aabbccddeeff","createdAt":1,"lastAccessed":1}"#,
        r#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid","sid":"00112233445566778899aabbccddeeff"}"#,
        r#"{"did":"not-a-did"}"#,
        r#"{"did":null,"sid":null,"createdAt":null,"lastAccessed":null}"#,
        "[]",
        "not json",
        "",
    ] {
        let seal = iron::seal(json.as_bytes(), "1", &key, None, &SeededEntropy::new(1));
        assert_eq!(ring.open(seal.expose(), NOW), Err(SealError::WrongPayload), "{json}");
    }
}

#[test]
fn a_seal_that_names_no_device_names_one_of_its_account_alone() {
    let ring = ring(&[NEW]);
    let key = IronKey::new(NEW).unwrap();
    let open = |json: &str| {
        let seal = iron::seal(json.as_bytes(), "1", &key, None, &SeededEntropy::new(1));
        ring.open(seal.expose(), NOW).unwrap().payload
    };
    let web =
        open(r#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid","createdAt":1700000000000,"lastAccessed":1700000000001}"#);
    let phone = open(r#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid"}"#);
    let other = open(r#"{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefie"}"#);
    assert_eq!(web.sid, phone.sid);
    assert_eq!(web.sid, unnamed_device(&web.did));
    assert_ne!(phone.sid, other.sid);
    assert_eq!(web.created_at, Timestamp::from_millis(1_700_000_000_000));
    // Written down: sessions that were taken over must open with every later release too.
    assert_eq!(web.sid.as_str(), "a597dabd39d98e4fad1657ed3196715b");
}

#[test]
fn the_older_form_opens_with_its_payload_under_persistent() {
    let key = IronKey::new(NEW).unwrap();
    let json = br#"{"persistent":{"did":"did:plc:hdhoaan3xa3jiuq4fg4mefid","sid":"00112233445566778899aabbccddeeff","createdAt":1,"lastAccessed":2}}"#;
    let seal = iron::seal(json, "1", &key, None, &SeededEntropy::new(1));
    let ring = ring(&[NEW]);
    assert_eq!(ring.open(seal.expose(), NOW), Err(SealError::WrongPayload), "with ~2 it is not of the older form");
    let bare = seal.expose().trim_end_matches("~2");
    assert_eq!(ring.open(bare, NOW).unwrap().payload.last_accessed, Timestamp::from_millis(2));
}

#[test]
fn the_cache_answers_as_the_ring_does() {
    let ring = Arc::new(ring(&[NEW]));
    let cache = SealCache::new(Arc::clone(&ring), 100);
    let seal = ring.seal(&payload(), Duration::from_secs(100), NOW, &SeededEntropy::new(1));
    let end = NOW.plus_seconds(100);
    for now in [NOW, NOW, end.plus_millis(59_999), end.plus_millis(60_000), NOW] {
        assert_eq!(
            cache.open_cached(seal.expose(), now).map(|opened| (*opened).clone()),
            ring.open(seal.expose(), now)
        );
    }
    let mut flipped = seal.expose().to_owned();
    flipped.replace_range(100..101, if &flipped[100..101] == "A" { "B" } else { "A" });
    assert_eq!(cache.open_cached(&flipped, NOW).unwrap_err(), SealError::BadMac);
    assert_eq!(cache.open_cached(&"x".repeat(1 << 20), NOW).unwrap_err(), SealError::Malformed);
}

#[test]
fn unusable_lists_of_secrets_are_refused() {
    let make = |secrets: &[&str]| SealRing::new(secrets.iter().map(|secret| Secret::new(*secret)).collect()).err();
    assert_eq!(make(&[]), Some(SealRingError::Empty));
    assert_eq!(make(&[NEW, "short"]), Some(SealRingError::TooShort { position: 2 }));
    assert_eq!(make(&[NEW, OLD, NEW]), Some(SealRingError::Duplicate { position: 3 }));
    let many: Vec<String> = (0..17).map(|n| format!("{NEW}{n}")).collect();
    assert_eq!(make(&many.iter().map(String::as_str).collect::<Vec<_>>()), Some(SealRingError::TooMany));
}

proptest! {
    #[test]
    fn opening_never_panics(text in "\\PC{0,300}") {
        drop(ring(&[NEW]).open(&text, NOW));
    }

    #[test]
    fn opening_what_looks_like_a_seal_never_panics(
        id in "[0-9a-z]{0,4}", parts in proptest::collection::vec("[A-Za-z0-9_~=+/-]{0,70}", 4..8), expiry in "[0-9-]{0,22}", suffix in "(~2)?",
    ) {
        let text = format!("Fe26.2*{id}*{}*{expiry}*{}{suffix}", parts[..3].join("*"), parts[3..].join("*"));
        prop_assert!(ring(&[NEW, OLD]).open(&text, NOW).is_err());
    }

    #[test]
    fn an_authentic_seal_of_any_content_never_panics(content in proptest::collection::vec(any::<u8>(), 0..200), seed: u64) {
        let key = IronKey::new(NEW).unwrap();
        let seal = iron::seal(&content, "1", &key, None, &SeededEntropy::new(seed));
        let unsealed = iron::unseal(seal.expose(), |_| Some(&key), NOW).unwrap();
        prop_assert_eq!(unsealed.content.expose(), &content[..]);
        prop_assert_eq!(ring(&[NEW]).open(seal.expose(), NOW), Err(SealError::WrongPayload));
    }

    #[test]
    fn a_seal_with_a_replaced_part_is_refused(part in 1usize..8, text in "[A-Za-z0-9_-]{0,64}") {
        let ring = ring(&[NEW, OLD]);
        let seal = sealed(&ring, 3);
        let mut parts: Vec<&str> = seal.expose().trim_end_matches("~2").split('*').collect();
        prop_assume!(parts[part] != text);
        parts[part] = &text;
        let text = parts.join("*") + "~2";
        prop_assert!(ring.open(&text, NOW).is_err());
    }
}
