//! Device sessions.

use bowerbird_core::ports::{Cas, Stores};
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, Timestamp};

use super::fixtures::{account_id, at, device, device_id, is_refused, on_device, race, signed_in};

async fn find(stores: &Stores, number: u32, now: Timestamp) -> Option<DeviceSession> {
    stores.device_sessions.find(&device_id(number), now).await.unwrap()
}

async fn active(stores: &Stores, number: u32) -> Option<AccountId> {
    find(stores, number, at(50)).await.unwrap().active
}

/// A session is read as it was written, with its accounts oldest first; another id finds nothing.
pub async fn it_comes_back_as_it_was(stores: Stores) {
    let three = on_device(&stores, 1, &[1, 2, 3]).await;
    assert_eq!(find(&stores, 1, at(50)).await, Some(three));
    let empty = on_device(&stores, 2, &[]).await;
    assert_eq!(find(&stores, 2, at(50)).await, Some(empty));
    let first_active = DeviceSession { active: Some(account_id(1)), ..device(3, &[1, 2, 3]) };
    stores.device_sessions.insert(&first_active).await.unwrap();
    assert_eq!(find(&stores, 3, at(50)).await, Some(first_active));
    assert_eq!(find(&stores, 4, at(50)).await, None);
}

/// A name that is taken, an account that is gone, an active account that is not on the device: nothing is stored.
pub async fn inconsistent_sessions_are_refused_whole(stores: Stores) {
    let first = on_device(&stores, 1, &[1]).await;
    signed_in(&stores, 2).await;
    assert!(is_refused(&stores.device_sessions.insert(&device(1, &[2])).await));
    assert_eq!(find(&stores, 1, at(50)).await, Some(first));

    for wrong in [
        device(2, &[1, 9]),
        DeviceSession { active: Some(account_id(2)), ..device(2, &[1]) },
        DeviceSession { active: None, ..device(2, &[1]) },
        DeviceSession { active: Some(account_id(1)), ..device(2, &[]) },
    ] {
        assert!(is_refused(&stores.device_sessions.insert(&wrong).await), "{wrong:?}");
        assert_eq!(find(&stores, 2, at(50)).await, None);
    }
    assert_eq!(stores.device_sessions.list_for_account(account_id(1), at(50)).await.unwrap().len(), 1);
}

/// At its end a session is not found, not rotated and not listed; purging removes it, counts it, and nothing else.
pub async fn expired_is_invisible_and_purged(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    let longer = DeviceSession { expires_at: at(7200), ..device(2, &[1]) };
    stores.device_sessions.insert(&longer).await.unwrap();

    assert!(find(&stores, 1, at(3600).plus_millis(-1)).await.is_some());
    assert_eq!(find(&stores, 1, at(3600)).await, None);
    let listed = stores.device_sessions.list_for_account(account_id(1), at(3600)).await.unwrap();
    assert_eq!(listed, [longer]);

    assert_eq!(stores.device_sessions.purge(at(3599)).await.unwrap(), 0);
    assert_eq!(stores.device_sessions.purge(at(3600)).await.unwrap(), 1);
    assert_eq!(stores.device_sessions.purge(at(3600)).await.unwrap(), 0);
    assert_eq!(find(&stores, 1, at(0)).await, None);
    assert!(find(&stores, 2, at(3600)).await.is_some());
}

/// A login gives the session a new name and the new account the active place; the old name is dead.
pub async fn rotate_moves_everything_and_kills_the_old_name(stores: Stores) {
    let before = on_device(&stores, 1, &[1, 2]).await;
    signed_in(&stores, 3).await;
    let rotate = async |old, new, account, now| {
        let (old, new) = (device_id(old), device_id(new));
        stores.device_sessions.rotate(&old, &new, account_id(account), at(now), at(9000)).await.unwrap()
    };
    let mut expected = DeviceSession {
        id: device_id(2),
        last_seen_at: at(60),
        expires_at: at(9000),
        active: Some(account_id(3)),
        ..before
    };
    expected.accounts.push(DeviceAccount { account: account_id(3), added_at: at(60) });
    assert_eq!(rotate(1, 2, 3, 60).await, Some(expected.clone()));
    assert_eq!(find(&stores, 2, at(61)).await, Some(expected.clone()));

    assert_eq!(find(&stores, 1, at(61)).await, None);
    assert_eq!(rotate(1, 4, 3, 61).await, None, "the old name begins nothing");
    assert_eq!(stores.device_sessions.touch(&device_id(1), at(61), at(9000)).await.unwrap(), Cas::Stale);
    assert_eq!(stores.device_sessions.remove(&device_id(1)).await.unwrap(), Cas::Stale);

    // An account that is there already keeps its place in the row and becomes active.
    let again = DeviceSession { id: device_id(5), last_seen_at: at(70), active: Some(account_id(1)), ..expected };
    assert_eq!(rotate(2, 5, 1, 70).await, Some(again.clone()));
    assert_eq!(stores.device_sessions.list_for_account(account_id(1), at(71)).await.unwrap(), [again]);
}

/// Of many logins from one session one moves it; the others find it dead.
pub async fn one_of_many_rotates(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    let moved = race(20, |number| {
        let sessions = stores.device_sessions.clone();
        let new = device_id(100 + number);
        async move { sessions.rotate(&device_id(1), &new, account_id(1), at(50), at(9000)).await.unwrap() }
    })
    .await;
    let winners: Vec<_> = moved.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let alive = stores.device_sessions.list_for_account(account_id(1), at(51)).await.unwrap();
    assert_eq!(alive, winners);
}

/// A session that is gone or over is not brought back by a login.
pub async fn rotate_needs_a_live_session(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    let rotate = async |old, now| {
        let (old, new) = (device_id(old), device_id(9));
        stores.device_sessions.rotate(&old, &new, account_id(1), at(now), at(99_000)).await.unwrap()
    };
    assert_eq!(rotate(1, 3600).await, None);
    assert_eq!(rotate(2, 50).await, None);
    assert_eq!(find(&stores, 9, at(50)).await, None);
}

/// A rotate that cannot be made leaves the session as it was, under its old name.
pub async fn a_refused_rotate_changes_nothing(stores: Stores) {
    let first = on_device(&stores, 1, &[1]).await;
    let second = on_device(&stores, 2, &[1, 2]).await;
    let rotate = async |new, account| {
        let new = device_id(new);
        stores.device_sessions.rotate(&device_id(1), &new, account_id(account), at(60), at(9000)).await
    };
    assert!(is_refused(&rotate(3, 77).await), "no such account");
    assert!(is_refused(&rotate(2, 1).await), "the name is another's");
    assert!(is_refused(&rotate(1, 1).await), "the name is its own");
    assert_eq!(find(&stores, 1, at(61)).await, Some(first));
    assert_eq!(find(&stores, 2, at(61)).await, Some(second));
    assert_eq!(find(&stores, 3, at(61)).await, None);
}

/// Only an account that is signed in on the device can be made active there.
pub async fn activate_takes_only_accounts_of_the_device(stores: Stores) {
    on_device(&stores, 1, &[1, 2]).await;
    on_device(&stores, 2, &[3]).await;
    let activate =
        async |number, account| stores.device_sessions.activate(&device_id(number), account_id(account)).await.unwrap();
    assert_eq!(activate(1, 1).await, Cas::Done);
    assert_eq!(active(&stores, 1).await, Some(account_id(1)));
    assert_eq!(activate(1, 1).await, Cas::Done, "once more changes nothing");
    assert_eq!(activate(1, 3).await, Cas::Stale, "that account is on another device");
    assert_eq!(activate(1, 9).await, Cas::Stale);
    assert_eq!(activate(9, 1).await, Cas::Stale);
    assert_eq!(active(&stores, 1).await, Some(account_id(1)));
    assert_eq!(active(&stores, 2).await, Some(account_id(3)));
}

/// When the active account goes, the one used before it is next; when another goes, nothing moves.
pub async fn the_active_place_goes_to_the_one_used_last(stores: Stores) {
    on_device(&stores, 1, &[1, 2, 3, 4]).await;
    let activate = async |account| {
        let done = stores.device_sessions.activate(&device_id(1), account_id(account)).await.unwrap();
        assert_eq!(done, Cas::Done);
    };
    let remove =
        async |account| stores.device_sessions.remove_account(&device_id(1), account_id(account)).await.unwrap();
    activate(2).await;
    activate(1).await;
    // By use: 3, 4, 2, 1.
    assert_eq!(remove(1).await, Cas::Done);
    assert_eq!(active(&stores, 1).await, Some(account_id(2)));
    assert_eq!(remove(1).await, Cas::Stale);
    assert_eq!(remove(4).await, Cas::Done);
    assert_eq!(active(&stores, 1).await, Some(account_id(2)));
    assert_eq!(remove(2).await, Cas::Done);
    assert_eq!(active(&stores, 1).await, Some(account_id(3)));
    let left = find(&stores, 1, at(50)).await.unwrap();
    assert_eq!(left.accounts.iter().map(|entry| entry.account).collect::<Vec<_>>(), [account_id(3)]);
}

/// Taking off the last account ends the session, also when two go at once.
pub async fn the_last_account_takes_the_session_along(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    let removed = stores.device_sessions.remove_account(&device_id(1), account_id(1)).await.unwrap();
    assert_eq!(removed, Cas::Done);
    assert_eq!(find(&stores, 1, at(50)).await, None);
    assert!(stores.accounts.find(account_id(1)).await.unwrap().is_some(), "the account itself stays");

    for number in 10..30 {
        on_device(&stores, number, &[1, 2]).await;
        let removed = race(2, |nth| {
            let sessions = stores.device_sessions.clone();
            async move { sessions.remove_account(&device_id(number), account_id(1 + nth)).await.unwrap() }
        })
        .await;
        assert_eq!(removed, [Cas::Done, Cas::Done]);
        assert_eq!(find(&stores, number, at(50)).await, None);
    }
}

/// Noting use moves the times forward, never back, and brings nothing back.
pub async fn touch_moves_forward_only_and_revives_nothing(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    let touch = async |number, now, expires_at| {
        stores.device_sessions.touch(&device_id(number), at(now), at(expires_at)).await.unwrap()
    };
    let times = async || {
        let found = find(&stores, 1, at(200)).await.unwrap();
        (found.created_at, found.last_seen_at, found.expires_at)
    };
    assert_eq!(touch(1, 100, 5000).await, Cas::Done);
    assert_eq!(times().await, (at(0), at(100), at(5000)));
    assert_eq!(touch(1, 90, 4900).await, Cas::Done);
    assert_eq!(times().await, (at(0), at(100), at(5000)));
    // A shorter life is a choice of the one who configures.
    assert_eq!(touch(1, 110, 400).await, Cas::Done);
    assert_eq!(times().await, (at(0), at(110), at(400)));

    assert_eq!(touch(1, 400, 9000).await, Cas::Stale);
    assert_eq!(find(&stores, 1, at(400)).await, None);
    assert_eq!(touch(9, 100, 9000).await, Cas::Stale);

    assert_eq!(stores.device_sessions.remove(&device_id(1)).await.unwrap(), Cas::Done);
    assert_eq!(touch(1, 120, 9000).await, Cas::Stale);
    assert_eq!(find(&stores, 1, at(120)).await, None);
}

/// An account's sessions come last used first, whole, and only those that hold it.
pub async fn lists_are_last_used_first(stores: Stores) {
    let first = on_device(&stores, 1, &[1, 2]).await;
    let second = on_device(&stores, 2, &[2, 1]).await;
    let third = on_device(&stores, 3, &[2]).await;
    let list = async |account| stores.device_sessions.list_for_account(account_id(account), at(50)).await.unwrap();
    assert_eq!(list(1).await, [second.clone(), first.clone()]);
    assert_eq!(list(2).await, [third.clone(), second.clone(), first.clone()]);
    assert_eq!(list(9).await, []);

    assert_eq!(stores.device_sessions.touch(&first.id, at(40), first.expires_at).await.unwrap(), Cas::Done);
    let first = DeviceSession { last_seen_at: at(40), ..first };
    assert_eq!(list(2).await, [first, third, second]);
}
