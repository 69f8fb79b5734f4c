//! Accounts.

use std::collections::HashSet;

use bowerbird_core::ports::{NewAccount, Stores};
use bowerbird_core::{Profile, WrappedDataKey};

use super::fixtures::{account_id, at, connection_id, did, granted, is_refused, login, on_device, race, signed_in};

/// A first login adds; a later one updates handle, PDS and time, and never the id or the creation.
pub async fn sign_in_adds_then_updates_and_keeps_the_id(stores: Stores) {
    let first = signed_in(&stores, 1).await;
    assert_eq!(first.id, account_id(1));
    assert_eq!(first.profile, Profile::default());
    assert_eq!((first.created_at, first.last_login_at), (at(1), at(1)));

    let again = NewAccount {
        id: account_id(99),
        handle: "moved.example.com".to_owned(),
        pds: "https://other.example.com".to_owned(),
        ..login(1, at(50))
    };
    let second = stores.accounts.sign_in(again).await.unwrap();
    assert_eq!(second.id, first.id);
    assert_eq!((second.handle.as_str(), second.pds.as_str()), ("moved.example.com", "https://other.example.com"));
    assert_eq!((second.created_at, second.last_login_at), (at(1), at(50)));

    assert_eq!(stores.accounts.find(first.id).await.unwrap(), Some(second.clone()));
    assert_eq!(stores.accounts.find_by_did(&did(1)).await.unwrap(), Some(second));
    assert_eq!(stores.accounts.find(account_id(99)).await.unwrap(), None);
}

/// Logins of one DID at the same moment make one account, and all of them are told the same id.
pub async fn concurrent_sign_ins_make_one_account(stores: Stores) {
    let ids = race(20, |number| {
        let accounts = stores.accounts.clone();
        async move { accounts.sign_in(NewAccount { id: account_id(number), ..login(7, at(0)) }).await.unwrap().id }
    })
    .await;
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1, "{ids:?}");
    assert_eq!(stores.accounts.list(None, 100).await.unwrap().len(), 1);
}

/// An id never comes to name a second person.
pub async fn a_taken_id_is_refused(stores: Stores) {
    let first = signed_in(&stores, 1).await;
    let other = NewAccount { id: first.id, ..login(2, at(9)) };
    assert!(is_refused(&stores.accounts.sign_in(other).await));
    assert_eq!(stores.accounts.find(first.id).await.unwrap(), Some(first));
    assert_eq!(stores.accounts.find_by_did(&did(2)).await.unwrap(), None);
}

/// What was never added is not found, and removing it says so.
pub async fn unknown_accounts_are_none(stores: Stores) {
    signed_in(&stores, 1).await;
    assert_eq!(stores.accounts.find(account_id(2)).await.unwrap(), None);
    assert_eq!(stores.accounts.find_by_did(&did(2)).await.unwrap(), None);
    assert!(!stores.accounts.remove(account_id(2)).await.unwrap());
}

/// A profile is replaced whole, a login leaves it, and an unknown account is ignored.
pub async fn a_profile_is_replaced_and_survives_a_login(stores: Stores) {
    let account = signed_in(&stores, 1).await;
    let profile = Profile { display_name: Some("Ann".to_owned()), avatar: Some("https://a.example.com/1".to_owned()) };
    stores.accounts.set_profile(account.id, &profile).await.unwrap();
    let again = stores.accounts.sign_in(login(1, at(60))).await.unwrap();
    assert_eq!(again.profile, profile);

    let bare = Profile { display_name: Some(String::new()), avatar: None };
    stores.accounts.set_profile(account.id, &bare).await.unwrap();
    assert_eq!(stores.accounts.find(account.id).await.unwrap().unwrap().profile, bare);

    stores.accounts.set_profile(account_id(2), &profile).await.unwrap();
    assert_eq!(stores.accounts.list(None, 10).await.unwrap().len(), 1);
}

/// A walk by pages meets every account once, by creation, whatever is added or changed meanwhile.
pub async fn pages_are_stable_and_whole(stores: Stores) {
    // Three at a time share their moment.
    for number in 0..25 {
        stores.accounts.sign_in(login(number, at(i64::from(number / 3)))).await.unwrap();
    }
    let mut met = Vec::new();
    let mut after = None;
    loop {
        let page = stores.accounts.list(after, 4).await.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        // A login moves nobody, and who comes new comes last.
        stores.accounts.sign_in(login(0, at(900))).await.unwrap();
        stores.accounts.sign_in(login(25, at(1000))).await.unwrap();
        met.extend(page);
    }
    assert_eq!(met.len(), 26);
    assert_eq!(met.iter().map(|account| account.id).collect::<HashSet<_>>().len(), 26);
    assert!(met.is_sorted_by_key(|account| account.created_at));
    let whole: Vec<_> = stores.accounts.list(None, 1000).await.unwrap().iter().map(|account| account.id).collect();
    assert_eq!(met.iter().map(|account| account.id).collect::<Vec<_>>(), whole);
    assert_eq!(stores.accounts.list(None, 0).await.unwrap(), []);
    assert_eq!(stores.accounts.list(None, u32::MAX).await.unwrap().len(), 26);
}

/// A walk whose place was removed is told so, rather than that it has reached the end.
pub async fn going_on_after_a_removed_account_is_refused(stores: Stores) {
    signed_in(&stores, 1).await;
    signed_in(&stores, 2).await;
    assert!(stores.accounts.remove(account_id(1)).await.unwrap());
    assert!(is_refused(&stores.accounts.list(Some(account_id(1)), 10).await));
}

/// Connections, credential and data key go with the account; another account's stay; the DID may begin anew.
pub async fn removing_takes_everything_along(stores: Stores) {
    granted(&stores, 1).await;
    let other = granted(&stores, 2).await;
    for number in [1, 2] {
        let key = WrappedDataKey { account: account_id(number), kek_id: "k1".to_owned(), wrapped: vec![9] };
        stores.data_keys.ensure(&key).await.unwrap();
    }

    assert!(stores.accounts.remove(account_id(1)).await.unwrap());
    assert!(!stores.accounts.remove(account_id(1)).await.unwrap());
    assert_eq!(stores.accounts.find_by_did(&did(1)).await.unwrap(), None);
    assert_eq!(stores.connections.list(account_id(1)).await.unwrap(), []);
    assert_eq!(stores.credentials.find(connection_id(1)).await.unwrap(), None);
    assert_eq!(stores.data_keys.find(account_id(1)).await.unwrap(), None);

    assert_eq!(stores.connections.list(account_id(2)).await.unwrap().len(), 1);
    assert_eq!(stores.credentials.find(connection_id(2)).await.unwrap(), Some(other));
    assert!(stores.data_keys.find(account_id(2)).await.unwrap().is_some());

    let anew = stores.accounts.sign_in(NewAccount { id: account_id(11), ..login(1, at(70)) }).await.unwrap();
    assert_eq!(anew.id, account_id(11));
    assert_eq!(stores.connections.list(anew.id).await.unwrap(), []);
}

/// A device whose active account is removed goes on with the one used there before, and at last with none.
pub async fn removing_moves_the_active_place(stores: Stores) {
    let device = on_device(&stores, 1, &[1, 2, 3]).await;
    let find = || async { stores.device_sessions.find(&device.id, at(100)).await.unwrap().unwrap() };
    let used = stores.device_sessions.activate(&device.id, account_id(1)).await.unwrap();
    assert_eq!(used, bowerbird_core::ports::Cas::Done);

    // By use: 2, 3, 1.
    assert!(stores.accounts.remove(account_id(1)).await.unwrap());
    let left = find().await;
    assert_eq!(left.active, Some(account_id(3)));
    assert!(!left.holds(account_id(1)));

    assert!(stores.accounts.remove(account_id(2)).await.unwrap());
    assert_eq!(find().await.active, Some(account_id(3)));

    assert!(stores.accounts.remove(account_id(3)).await.unwrap());
    let empty = find().await;
    assert_eq!((empty.active, empty.accounts.len()), (None, 0));
}
