//! A sealed field opens in its own place only.

use bowerbird_core::ports::{Cas, Clock as _, KeyEncryptionKey};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{AccountId, ConnectionId, CredentialRecord, Generation, NeedsReauth, RefreshClass, SecretBytes};
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
    let base = CredentialPlace {
        cluster_id: "cluster-a",
        account: accounts[0],
        connection: connections[0],
        issuer: "https://issuer.example",
        audience: "https://pds.example",
        subject: "did:web:alice.example",
        client_kid: Some("key"),
    };
    // Every way to differ in one thing or in two, and values that change places with their neighbours.
    let changes: [fn(&mut CredentialPlace<'_>); 8] = [
        |place| place.cluster_id = "cluster-b",
        |place| place.issuer = "https://pds.example",
        |place| place.audience = "https://issuer.example",
        |place| place.audience = "https://pds.example.evil.example",
        |place| place.subject = "did:web:mallory.example",
        |place| place.client_kid = None,
        |place| place.client_kid = Some(""),
        |place| place.client_kid = Some("key-2"),
    ];
    let mut holders = vec![base];
    for (first, change) in changes.iter().enumerate() {
        for also in &changes[first..] {
            let mut place = base;
            change(&mut place);
            also(&mut place);
            let same = |known: &CredentialPlace<'_>| format!("{known:?}") == format!("{place:?}");
            if !holders.iter().any(same) {
                holders.push(place);
            }
        }
    }
    holders.push(CredentialPlace { account: accounts[1], ..base });
    holders.push(CredentialPlace { connection: connections[1], ..base });
    holders.push(CredentialPlace { account: accounts[1], connection: connections[1], ..base });
    let mut places = Vec::new();
    for holder in &holders {
        for field in FIELDS {
            for generation in [Generation(1), Generation(2)] {
                for key in &keys {
                    places.push((*holder, field, generation, key));
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
    assert!(holders.len() > 25, "{}", holders.len());
    assert_eq!(opened, places.len());
}

/// Writes a manipulated row, as somebody with access to the database could.
async fn overwrite(house: &House, row: &CredentialRecord) {
    if let Some(known) = house.stores.credentials.find(row.connection).await.unwrap() {
        assert_eq!(house.stores.credentials.remove(row.connection, known.generation).await.unwrap(), Cas::Done);
    }
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
        swap(&|row| row.fields.granted_generation = own.generation),
        swap(&|row| row.tokens.access_token.clear()),
        // Neither a token that may be sent once only becomes one that may be sent again, nor a signed one a bearer.
        swap(&|row| row.refresh_class = RefreshClass::Graceful),
        swap(&|row| row.fields.dpop_key.clear()),
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

/// Somebody who can write the database, but has no key, points tokens elsewhere.
#[tokio::test(start_paused = true)]
async fn a_row_that_names_another_host_identity_or_client_key_is_unreadable_and_nothing_is_sent() {
    let house = House::new().await;
    let row = house.row().await;
    let alter = |change: &dyn Fn(&mut CredentialRecord)| {
        let mut altered = row.clone();
        change(&mut altered);
        assert_ne!(altered, row);
        altered
    };
    let altered = [
        alter(&|row| row.issuer = "https://evil.example".to_owned()),
        alter(&|row| row.issuer.push('/')),
        alter(&|row| row.audience = "https://evil.example".to_owned()),
        alter(&|row| row.audience.clear()),
        alter(&|row| std::mem::swap(&mut row.issuer, &mut row.audience)),
        alter(&|row| row.subject = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".to_owned()),
        alter(&|row| row.subject = "no DID".to_owned()),
        alter(&|row| row.client_kid = None),
        alter(&|row| row.client_kid = Some("client-key-2".to_owned())),
    ];
    for (number, altered) in altered.iter().enumerate() {
        // Fresh, due, past use, and refused: every way that leads to a token.
        for life in [3600, 300, -1] {
            let mut altered = altered.clone();
            altered.tokens.access_expires_at = house.clock.now().plus_seconds(life);
            altered.tokens.issued_at = altered.tokens.access_expires_at.plus_seconds(-3600);
            overwrite(&house, &altered).await;
            let usable = house.vault.checkout(house.connection).await;
            assert!(matches!(usable, Err(CheckoutError::NeedsReauth(NeedsReauth::Unreadable))), "{number} {life}");
            let newer = house.vault.checkout_newer(house.connection, row.generation).await;
            assert!(matches!(newer, Err(CheckoutError::NeedsReauth(NeedsReauth::Unreadable))), "{number} {life}");
            assert!(matches!(house.vault.open(house.connection).await, Err(OpenError::Unreadable(_))), "{number}");
            assert_eq!(house.row().await, altered, "{number}: nothing is deleted or rewritten");
            // Nor does a sign-out hand out anything to be revoked at that host.
            let (vault, _) = house.second_instance();
            assert!(vault.remove(house.connection).await.unwrap().is_none(), "{number}");
            overwrite(&house, &altered).await;
        }
    }
    let asked = house.issuer.preparations.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((asked, house.issuer.sends()), (0, 0), "nobody was asked anything");
    overwrite(&house, &row).await;
    assert!(house.vault.checkout(house.connection).await.is_ok(), "as it was, it opens");
}

/// What a refresh stores is bound like what a login stored.
#[tokio::test(start_paused = true)]
async fn renewed_tokens_are_bound_to_the_same_host() {
    let house = House::new().await;
    house.pass(3601);
    house.vault.checkout(house.connection).await.unwrap();
    let row = house.row().await;
    let (vault, issuer) = house.second_instance();
    assert_eq!(vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    overwrite(&house, &CredentialRecord { audience: "https://evil.example".to_owned(), ..row }).await;
    let (vault, _) = house.second_instance();
    let usable = vault.checkout(house.connection).await;
    assert!(matches!(usable, Err(CheckoutError::NeedsReauth(NeedsReauth::Unreadable))), "{usable:?}");
    assert_eq!((house.issuer.sends(), issuer.sends()), (1, 0));
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
