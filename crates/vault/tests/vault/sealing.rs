//! A sealed field opens in its own place only.

use bowerbird_core::ports::{Cas, KeyEncryptionKey};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{AccountId, ConnectionId, CredentialRecord, Generation, NeedsReauth, SecretBytes};
use bowerbird_vault::envelope::{KeyPurpose, Place, SealingKey};
use bowerbird_vault::{CheckoutError, CredentialField, CredentialPlace, OpenError};
use proptest::prelude::*;

use super::support::{House, connect, new_grant, vault_on};

const FIELDS: [CredentialField; 3] =
    [CredentialField::AccessToken, CredentialField::RefreshToken, CredentialField::DpopKey];

#[test]
fn of_all_pairs_of_places_only_the_same_one_opens() {
    let entropy = SeededEntropy::new(1);
    let keys = [SealingKey::random(&entropy), SealingKey::random(&entropy)];
    let accounts = [AccountId::random(&entropy), AccountId::random(&entropy)];
    let connections = [ConnectionId::random(&entropy), ConnectionId::random(&entropy)];
    let mut places = Vec::new();
    for cluster_id in ["cluster-a", "cluster-b"] {
        for account in accounts {
            for connection in connections {
                for field in FIELDS {
                    for generation in [Generation(1), Generation(2)] {
                        for key in &keys {
                            places.push((CredentialPlace { cluster_id, account, connection }, field, generation, key));
                        }
                    }
                }
            }
        }
    }
    let sealed: Vec<Vec<u8>> = places
        .iter()
        .map(|(place, field, generation, key)| place.seal(key, *field, *generation, b"content", &entropy))
        .collect();
    let mut opened = 0;
    for (from, sealed) in sealed.iter().enumerate() {
        for (to, (place, field, generation, key)) in places.iter().enumerate() {
            let result = place.open(key, *field, *generation, sealed);
            assert_eq!(result.is_ok(), from == to, "{from} in the place of {to}");
            opened += usize::from(result.is_ok());
        }
    }
    assert_eq!((places.len(), opened), (96, 96));
}

/// Writes a manipulated row, as somebody with access to the database could.
async fn overwrite(house: &House, row: &CredentialRecord) {
    house.stores.credentials.remove(row.connection).await.unwrap();
    assert_eq!(house.stores.credentials.replace(row, None).await.unwrap(), Cas::Done);
    house.vault.forget(row.connection);
}

#[tokio::test(start_paused = true)]
async fn swapped_columns_rows_and_generations_are_unreadable_and_stay() {
    let house = House::new().await;
    let (account, other) = connect(&house.stores, &house.clock, 2).await;
    house.vault.grant(new_grant(account, other, "at-other", Some("rt-other"))).await.unwrap();
    let own = house.row().await;
    let foreign = house.stores.credentials.find(other).await.unwrap().unwrap();
    house.vault.grant(house.grant("at-later", Some("rt-later"))).await.unwrap();
    let later = house.row().await;

    let swap = |change: &dyn Fn(&mut CredentialRecord)| {
        let mut row = later.clone();
        change(&mut row);
        assert_ne!(row, later);
        row
    };
    let swapped = [
        swap(&|row| row.tokens.access_token = row.tokens.refresh_token.clone().unwrap()),
        swap(&|row| row.tokens.refresh_token = Some(row.tokens.access_token.clone())),
        swap(&|row| row.fields.dpop_key = row.tokens.access_token.clone()),
        swap(&|row| row.tokens.access_token = foreign.tokens.access_token.clone()),
        swap(&|row| row.tokens.refresh_token = foreign.tokens.refresh_token.clone()),
        swap(&|row| row.fields.dpop_key = foreign.fields.dpop_key.clone()),
        swap(&|row| row.tokens.access_token = own.tokens.access_token.clone()),
        swap(&|row| row.tokens.refresh_token = own.tokens.refresh_token.clone()),
        swap(&|row| row.fields.dpop_key = own.fields.dpop_key.clone()),
        swap(&|row| row.generation = row.generation.next()),
        swap(&|row| row.fields.granted_generation = Generation(1)),
        swap(&|row| row.tokens.access_token.clear()),
    ];
    for (number, row) in swapped.iter().enumerate() {
        overwrite(&house, row).await;
        let opened = house.vault.open(house.connection).await;
        assert!(matches!(opened, Err(OpenError::Unreadable(_))), "{number}: {opened:?}");
        let usable = house.vault.checkout(house.connection).await;
        assert!(matches!(usable, Err(CheckoutError::NeedsReauth(NeedsReauth::Unreadable))), "{number}");
        assert_eq!(house.row().await, *row, "{number}: nothing is deleted or rewritten");
    }
    overwrite(&house, &later).await;
    assert!(house.vault.checkout(house.connection).await.is_ok());
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copied_database_does_not_open_in_another_cluster() {
    let house = House::new().await;
    let elsewhere = vault_on(&house.stores, &house.issuer, &house.clock, FixedKeys::one(), "cluster-b");
    house.pass(3601);
    let usable = elsewhere.checkout(house.connection).await;
    assert!(matches!(usable, Err(CheckoutError::NeedsReauth(NeedsReauth::Unreadable))), "{usable:?}");
    assert_eq!(house.issuer.sends(), 0, "a copy must not refresh");
}

#[tokio::test(start_paused = true)]
async fn no_token_is_in_the_stored_rows() {
    let house = House::new().await;
    let row = house.row().await;
    let mut bytes = row.tokens.access_token.clone();
    bytes.extend(row.tokens.refresh_token.unwrap());
    bytes.extend(row.fields.dpop_key);
    for needle in [&b"at-0"[..], b"rt-0", &[9; 8]] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}

#[test]
fn sub_keys_differ_by_purpose() {
    let kek = KeyEncryptionKey { id: "k".to_owned(), key: SecretBytes::new([7; 32]) };
    let purposes = [KeyPurpose::Wrap, KeyPurpose::Login, KeyPurpose::Index, KeyPurpose::Pepper];
    let place = Place::new("test", "cluster");
    for sealing in purposes {
        let sealed = SealingKey::derive(&kek, sealing).unwrap().seal(&place, b"x", &SeededEntropy::new(1));
        for opening in purposes {
            let opened = SealingKey::derive(&kek, opening).unwrap().open(&place, &sealed);
            assert_eq!(opened.is_ok(), sealing == opening);
        }
    }
    let short = KeyEncryptionKey { id: "k".to_owned(), key: SecretBytes::new([7; 31]) };
    assert!(SealingKey::derive(&short, KeyPurpose::Wrap).is_err());
}

proptest! {
    #[test]
    fn no_two_lists_of_parts_make_one_place(
        one in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
        two in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
    ) {
        let place = |parts: &[Vec<u8>]| parts.iter().fold(Place::new("k", "c"), |place, part| place.and(part));
        prop_assert_eq!(place(&one) == place(&two), one == two);
    }

    #[test]
    fn any_flipped_bit_fails_and_nothing_panics(content in proptest::collection::vec(any::<u8>(), 0..64), bit: prop::sample::Index, seed: u64) {
        let entropy = SeededEntropy::new(seed);
        let key = SealingKey::random(&entropy);
        let place = Place::new("k", "c");
        let mut sealed = key.seal(&place, &content, &entropy);
        let opened = key.open(&place, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), &content[..]);
        let bit = bit.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key.open(&place, &sealed).is_err());
        prop_assert!(key.open(&place, &content).is_err());
    }
}
