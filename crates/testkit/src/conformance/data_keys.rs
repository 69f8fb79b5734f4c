//! Wrapped data keys.

use std::collections::HashSet;

use bowerbird_core::WrappedDataKey;
use bowerbird_core::ports::{Cas, Stores};

use super::fixtures::{account_id, is_refused, race, signed_in};

fn key(kek_id: &str, byte: u8) -> WrappedDataKey {
    WrappedDataKey { account: account_id(1), kek_id: kek_id.to_owned(), wrapped: vec![byte; 72] }
}

/// A second key never replaces the first: everything sealed with it would be lost.
pub async fn ensure_keeps_the_first(stores: Stores) {
    signed_in(&stores, 1).await;
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), None);
    assert_eq!(stores.data_keys.ensure(&key("k1", 1)).await.unwrap(), key("k1", 1));
    assert_eq!(stores.data_keys.ensure(&key("k2", 2)).await.unwrap(), key("k1", 1));
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), Some(key("k1", 1)));
}

/// Offers at the same moment are all told the same key.
pub async fn concurrent_ensures_agree(stores: Stores) {
    signed_in(&stores, 1).await;
    let keys = race(20, |number| {
        let data_keys = stores.data_keys.clone();
        let offered = key("k1", u8::try_from(number).unwrap());
        async move { data_keys.ensure(&offered).await.unwrap().wrapped }
    })
    .await;
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1);
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap().unwrap().wrapped, keys[0]);
}

/// Nothing hangs from an account that is gone.
pub async fn ensure_needs_the_account(stores: Stores) {
    assert!(is_refused(&stores.data_keys.ensure(&key("k1", 1)).await));
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), None);
}

/// A new wrapping lands once, over the one that was seen, and nowhere else.
pub async fn rewrap_names_the_key_that_it_saw(stores: Stores) {
    signed_in(&stores, 1).await;
    assert_eq!(stores.data_keys.rewrap(&key("k2", 2), "k1").await.unwrap(), Cas::Stale);
    stores.data_keys.ensure(&key("k1", 1)).await.unwrap();
    assert_eq!(stores.data_keys.rewrap(&key("k2", 2), "k0").await.unwrap(), Cas::Stale);
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), Some(key("k1", 1)));

    let won = race(10, |number| {
        let data_keys = stores.data_keys.clone();
        let offered = key("k2", u8::try_from(number).unwrap());
        async move { data_keys.rewrap(&offered, "k1").await.unwrap() }
    })
    .await;
    assert_eq!(won.iter().filter(|cas| **cas == Cas::Done).count(), 1);
    let winner = u8::try_from(won.iter().position(|cas| *cas == Cas::Done).unwrap()).unwrap();
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), Some(key("k2", winner)));
}

/// A rotation meets every key that is left, in pages, and none that is done.
pub async fn pages_hold_what_is_left_to_rewrap(stores: Stores) {
    assert_eq!(stores.data_keys.count_by_kek().await.unwrap(), vec![]);
    let of = |number, kek_id: &str| WrappedDataKey { account: account_id(number), ..key(kek_id, 1) };
    for number in 1..=7 {
        signed_in(&stores, number).await;
        stores.data_keys.ensure(&of(number, if number == 4 { "new" } else { "old" })).await.unwrap();
    }
    let page = async |after, limit| stores.data_keys.page_by_kek("new", after, limit).await.unwrap();
    assert_eq!(page(None, 3).await, [of(1, "old"), of(2, "old"), of(3, "old")]);
    assert_eq!(page(Some(account_id(3)), 2).await, [of(5, "old"), of(6, "old")]);
    assert_eq!(page(Some(account_id(6)), 2).await, [of(7, "old")]);
    assert_eq!(page(Some(account_id(7)), 2).await, []);
    assert_eq!(stores.data_keys.count_by_kek().await.unwrap(), [("new".to_owned(), 1), ("old".to_owned(), 6)]);

    // Begun again after a part was done, and after an account is gone.
    for number in [1, 2, 6] {
        assert_eq!(stores.data_keys.rewrap(&of(number, "new"), "old").await.unwrap(), Cas::Done);
    }
    assert!(stores.accounts.remove(account_id(3)).await.unwrap());
    assert_eq!(page(None, 10).await, [of(5, "old"), of(7, "old")]);
    for number in [5, 7] {
        assert_eq!(stores.data_keys.rewrap(&of(number, "new"), "old").await.unwrap(), Cas::Done);
    }
    assert_eq!(page(None, 10).await, []);
    assert_eq!(stores.data_keys.count_by_kek().await.unwrap(), [("new".to_owned(), 6)]);
}
