//! Connections.

use std::collections::HashSet;

use bowerbird_core::ports::Stores;
use bowerbird_core::{Connection, Platform};

use super::fixtures::{account_id, at, connection, connection_id, is_refused, race, signed_in};

/// The first connection of a key stays; a second offer gets the first back.
pub async fn ensure_keeps_the_first(stores: Stores) {
    signed_in(&stores, 1).await;
    let first = connection(1);
    assert_eq!(stores.connections.ensure(&first).await.unwrap(), first);
    let second = Connection { id: connection_id(50), created_at: at(50), ..first.clone() };
    assert_eq!(stores.connections.ensure(&second).await.unwrap(), first);
    assert_eq!(stores.connections.list(account_id(1)).await.unwrap(), [first]);
}

/// Offers at the same moment agree on one connection.
pub async fn concurrent_ensures_make_one(stores: Stores) {
    signed_in(&stores, 1).await;
    let ids = race(20, |number| {
        let connections = stores.connections.clone();
        let offered = Connection { id: connection_id(number), ..connection(1) };
        async move { connections.ensure(&offered).await.unwrap().id }
    })
    .await;
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1, "{ids:?}");
    assert_eq!(stores.connections.list(account_id(1)).await.unwrap().len(), 1);
}

/// Nothing hangs from an account that is gone.
pub async fn ensure_needs_the_account(stores: Stores) {
    assert!(is_refused(&stores.connections.ensure(&connection(1)).await));
    signed_in(&stores, 1).await;
    assert_eq!(stores.connections.list(account_id(1)).await.unwrap(), []);
}

/// A connection is found by its whole key only, and never by another account's.
pub async fn find_is_exact_and_list_is_oldest_first(stores: Stores) {
    signed_in(&stores, 1).await;
    signed_in(&stores, 2).await;
    let late = Connection { created_at: at(9), ..connection(1) };
    let early = Connection {
        id: connection_id(3),
        platform: Platform::named("mastodon"),
        subject: "https://m.example.com/@ann".to_owned(),
        created_at: at(5),
        ..late.clone()
    };
    for wanted in [&late, &early] {
        stores.connections.ensure(wanted).await.unwrap();
    }
    let find = async |account, platform: &Platform, subject: &str| {
        stores.connections.find(account_id(account), platform, subject).await.unwrap()
    };
    assert_eq!(find(1, &late.platform, &late.subject).await, Some(late.clone()));
    assert_eq!(find(2, &late.platform, &late.subject).await, None);
    assert_eq!(find(1, &early.platform, &late.subject).await, None);
    assert_eq!(find(1, &early.platform, &early.subject.to_uppercase()).await, None);
    assert_eq!(stores.connections.list(account_id(1)).await.unwrap(), [early, late]);
    assert_eq!(stores.connections.list(account_id(2)).await.unwrap(), []);
}
