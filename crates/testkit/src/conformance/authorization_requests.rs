//! Logins under way.

use bowerbird_core::ports::{StoreError, Stores};
use bowerbird_core::{AuthorizationRequestRecord, StateHash};

use super::fixtures::{T0, at, is_refused, race};

const CAP: u64 = 100;

fn request(number: u8) -> AuthorizationRequestRecord {
    AuthorizationRequestRecord {
        state: StateHash([number; 32]),
        sealed: vec![number, 0, 255],
        created_at: T0,
        expires_at: at(600),
    }
}

/// Of fifty callbacks with one state, one gets the record.
pub async fn one_of_fifty_takes_it(stores: Stores) {
    stores.authorization_requests.insert(&request(1), CAP).await.unwrap();
    let taken = race(50, |_| {
        let requests = stores.authorization_requests.clone();
        async move { requests.take(&StateHash([1; 32]), at(1)).await.unwrap() }
    })
    .await;
    let got: Vec<_> = taken.into_iter().flatten().collect();
    assert_eq!(got, [request(1)]);
}

/// The bytes are what they were; another state gets nothing, and taking is once.
pub async fn it_comes_back_as_it_was(stores: Stores) {
    let large = AuthorizationRequestRecord { sealed: (0..=255).cycle().take(65_536).collect(), ..request(1) };
    let empty = AuthorizationRequestRecord { sealed: Vec::new(), ..request(2) };
    for record in [&large, &empty] {
        stores.authorization_requests.insert(record, CAP).await.unwrap();
    }
    let take = async |number| stores.authorization_requests.take(&StateHash([number; 32]), at(1)).await.unwrap();
    assert_eq!(take(3).await, None);
    assert_eq!(take(1).await, Some(large));
    assert_eq!(take(1).await, None);
    assert_eq!(take(2).await, Some(empty));
}

/// At its end a record can no longer be taken; a millisecond before, it can.
pub async fn expired_is_gone_to_the_millisecond(stores: Stores) {
    for number in [1, 2] {
        stores.authorization_requests.insert(&request(number), CAP).await.unwrap();
    }
    let take = async |number, now| stores.authorization_requests.take(&StateHash([number; 32]), now).await.unwrap();
    assert_eq!(take(1, at(600)).await, None);
    assert_eq!(take(2, at(600).plus_millis(-1)).await, Some(request(2)));
}

/// Purging removes what has ended, nothing else, and counts it.
pub async fn purge_removes_what_expired_and_counts(stores: Stores) {
    for number in 0..5 {
        let record = AuthorizationRequestRecord { expires_at: at(100 + i64::from(number)), ..request(number) };
        stores.authorization_requests.insert(&record, CAP).await.unwrap();
    }
    assert_eq!(stores.authorization_requests.purge(at(99)).await.unwrap(), 0);
    assert_eq!(stores.authorization_requests.purge(at(102)).await.unwrap(), 3);
    assert_eq!(stores.authorization_requests.purge(at(102)).await.unwrap(), 0);
    let left = stores.authorization_requests.take(&StateHash([3; 32]), at(102)).await.unwrap();
    assert!(left.is_some());
}

/// The cap holds for records that live, so that a flood ends and old ones do not count.
pub async fn the_cap_counts_live_records(stores: Stores) {
    let insert = async |record: AuthorizationRequestRecord| stores.authorization_requests.insert(&record, 3).await;
    for number in 0..3 {
        insert(request(number)).await.unwrap();
    }
    assert!(matches!(insert(request(3)).await, Err(StoreError::Full)));
    assert_eq!(stores.authorization_requests.take(&StateHash([3; 32]), at(1)).await.unwrap(), None);

    // One that is taken makes room for one.
    assert!(stores.authorization_requests.take(&StateHash([0; 32]), at(1)).await.unwrap().is_some());
    insert(request(3)).await.unwrap();
    assert!(matches!(insert(request(4)).await, Err(StoreError::Full)));

    // Those that have ended do not wait, purged or not.
    let later = AuthorizationRequestRecord { created_at: at(600), expires_at: at(1200), ..request(5) };
    insert(later.clone()).await.unwrap();
    let another = AuthorizationRequestRecord { state: StateHash([6; 32]), ..later };
    assert!(matches!(stores.authorization_requests.insert(&another, 0).await, Err(StoreError::Full)));
}

/// A second record of one state is refused, and the first stays.
pub async fn a_taken_state_is_refused_and_kept(stores: Stores) {
    stores.authorization_requests.insert(&request(1), CAP).await.unwrap();
    let other = AuthorizationRequestRecord { sealed: vec![9], ..request(1) };
    assert!(is_refused(&stores.authorization_requests.insert(&other, CAP).await));
    let kept = stores.authorization_requests.take(&StateHash([1; 32]), at(1)).await.unwrap();
    assert_eq!(kept, Some(request(1)));
}
