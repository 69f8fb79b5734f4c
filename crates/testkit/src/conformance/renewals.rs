//! Lines of refresh strings.

use bowerbird_core::ports::{Cas, Stores};
use bowerbird_core::{Renewal, RenewalLine};

use super::fixtures::{account_id, at, device_id, is_refused, on_device, race};

const LINE: RenewalLine = RenewalLine([1; 16]);

async fn renew(stores: &Stores, place: i64) -> Renewal {
    stores.renewals.renew(&LINE, place, at(50)).await.unwrap()
}

fn renewed(device: u32, place: i64) -> Renewal {
    Renewal::Renewed { device: device_id(device), place }
}

/// The newest string gives the next one.
pub async fn each_string_has_one_successor(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    for place in 1..10 {
        assert_eq!(renew(&stores, place).await, renewed(1, place + 1));
    }
    let other = stores.renewals.renew(&RenewalLine([2; 16]), 1, at(50)).await.unwrap();
    assert_eq!(other, Renewal::Unknown);
}

/// A string may be presented again until its successor is: an answer was lost, or several asked at once.
pub async fn everybody_with_one_string_gets_one_successor(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    let outcomes = race(20, |_| {
        let renewals = stores.renewals.clone();
        async move { renewals.renew(&LINE, 1, at(50)).await.unwrap() }
    })
    .await;
    assert!(outcomes.iter().all(|outcome| *outcome == renewed(1, 2)), "{outcomes:?}");
    assert_eq!(renew(&stores, 1).await, renewed(1, 2));
    assert_eq!(renew(&stores, 2).await, renewed(1, 3));
}

/// After the first use of the successor, the string before it is a copy in somebody's hands.
pub async fn a_string_whose_successor_was_used_is_superseded(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    for place in 1..=3 {
        renew(&stores, place).await;
    }
    for old in [1, 2] {
        assert_eq!(renew(&stores, old).await, Renewal::Superseded { device: device_id(1) });
    }
    assert_eq!(renew(&stores, 3).await, renewed(1, 4), "the newest use stands");
}

/// A login moves the line to the session's new name; the end of the session is its end.
pub async fn a_line_follows_its_session_and_ends_with_it(stores: Stores) {
    assert!(is_refused(&stores.renewals.begin(&device_id(1), &LINE).await), "no session");
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    let (old, new) = (device_id(1), device_id(2));
    let moved = stores.device_sessions.rotate(&old, &new, account_id(1), at(50), at(9000)).await.unwrap();
    assert!(moved.is_some());
    assert_eq!(renew(&stores, 1).await, renewed(2, 2));
    assert_eq!(stores.renewals.renew(&LINE, 2, at(9000)).await.unwrap(), Renewal::Unknown, "over, though not purged");
    assert_eq!(stores.device_sessions.remove(&new).await.unwrap(), Cas::Done);
    assert_eq!(renew(&stores, 2).await, Renewal::Unknown);

    on_device(&stores, 3, &[1]).await;
    stores.renewals.begin(&device_id(3), &LINE).await.unwrap();
    assert_eq!(stores.device_sessions.remove_account(&device_id(3), account_id(1)).await.unwrap(), Cas::Done);
    assert_eq!(renew(&stores, 1).await, Renewal::Unknown);
}

/// A session has one line.
pub async fn a_new_line_ends_the_old_one(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    renew(&stores, 1).await;
    let second = RenewalLine([2; 16]);
    stores.renewals.begin(&device_id(1), &second).await.unwrap();
    assert_eq!(renew(&stores, 2).await, Renewal::Unknown);
    assert_eq!(stores.renewals.renew(&second, 1, at(50)).await.unwrap(), renewed(1, 2));
}

/// A string that only a lost row can be behind goes on from its own place.
pub async fn a_string_ahead_of_a_restored_row_counts(stores: Stores) {
    on_device(&stores, 1, &[1]).await;
    stores.renewals.begin(&device_id(1), &LINE).await.unwrap();
    assert_eq!(renew(&stores, 41).await, renewed(1, 42));
    assert_eq!(renew(&stores, 42).await, renewed(1, 43));
    assert_eq!(renew(&stores, 41).await, Renewal::Superseded { device: device_id(1) });
}
