//! The history of accounts.

use bowerbird_core::ports::Stores;
use bowerbird_core::{NeedsReauth, NoticeId, SecurityEvent, SecurityEventKind};
use uuid::Uuid;

use super::fixtures::{account_id, at, is_refused, signed_in};

fn id(number: u32) -> NoticeId {
    NoticeId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn event(number: u32, account: u32, seconds: i64) -> SecurityEvent {
    SecurityEvent {
        id: id(number),
        account: account_id(account),
        at: at(seconds),
        kind: SecurityEventKind::SignedIn,
        device_name: "Firefox on Linux".to_owned(),
        by_device: String::new(),
    }
}

fn numbers(events: &[SecurityEvent]) -> Vec<u128> {
    events.iter().map(|event| event.id.as_uuid().as_u128()).collect()
}

/// Every field and kind comes back, the latest first; at the same moment the order is that of the names, so that pages
/// neither repeat nor leave out.
pub async fn they_come_back_latest_first_and_in_pages(stores: Stores) {
    signed_in(&stores, 1).await;
    let remotely = SecurityEvent {
        kind: SecurityEventKind::SignedOutRemotely,
        by_device: "Safari on iPhone".to_owned(),
        ..event(2, 1, 20)
    };
    let needs = SecurityEvent {
        kind: SecurityEventKind::NeedsReauth(NeedsReauth::LostResponse),
        device_name: String::new(),
        ..event(3, 1, 20)
    };
    let events = [event(1, 1, 10), remotely.clone(), needs.clone(), event(4, 1, 5)];
    stores.security_events.note(&events).await.unwrap();
    let list = async |before, limit| stores.security_events.list(account_id(1), before, limit).await.unwrap();
    assert_eq!(list(None, 10).await, [needs.clone(), remotely, event(1, 1, 10), event(4, 1, 5)]);
    assert_eq!(numbers(&list(None, 1).await), [3]);
    assert_eq!(numbers(&list(Some((at(20), id(3))), 2).await), [2, 1]);
    assert_eq!(numbers(&list(Some((at(10), id(1))), 2).await), [4]);
    assert_eq!(numbers(&list(Some((at(5), id(4))), 2).await), [] as [u128; 0]);
    assert!(is_refused(&stores.security_events.note(&[needs]).await), "a name is given once");
    stores.security_events.note(&[]).await.unwrap();
}

/// Nobody sees another's; those of nobody are not stored, without harm to the others of the same call.
pub async fn those_of_an_account_are_its_own_and_go_with_it(stores: Stores) {
    signed_in(&stores, 1).await;
    signed_in(&stores, 2).await;
    stores.security_events.note(&[event(1, 1, 1), event(2, 2, 2), event(3, 99, 3)]).await.unwrap();
    let list = async |account| stores.security_events.list(account_id(account), None, 10).await.unwrap();
    assert_eq!(numbers(&list(1).await), [1]);
    assert_eq!(numbers(&list(2).await), [2]);
    assert_eq!(numbers(&list(99).await), [] as [u128; 0]);
    assert!(stores.accounts.remove(account_id(1)).await.unwrap());
    assert_eq!(numbers(&list(1).await), [] as [u128; 0]);
    assert_eq!(numbers(&list(2).await), [2]);
}

/// Of each account so many; the oldest give way, and no other account's.
pub async fn only_the_latest_are_kept(stores: Stores) {
    let kept = SecurityEvent::KEPT;
    signed_in(&stores, 1).await;
    signed_in(&stores, 2).await;
    stores.security_events.note(&[event(1_000_001, 2, 0)]).await.unwrap();
    let all: Vec<_> = (1..=kept + 3).map(|number| event(number, 1, i64::from(number))).collect();
    let (first, then) = all.split_at(usize::try_from(kept).unwrap());
    stores.security_events.note(first).await.unwrap();
    stores.security_events.note(then).await.unwrap();
    // Older than all that are kept: not kept itself.
    stores.security_events.note(&[event(1_000_002, 1, -5)]).await.unwrap();
    let list = stores.security_events.list(account_id(1), None, kept * 2).await.unwrap();
    let expected: Vec<_> = (4..=kept + 3).rev().map(u128::from).collect();
    assert_eq!(numbers(&list), expected);
    assert_eq!(stores.security_events.list(account_id(2), None, 10).await.unwrap().len(), 1);
}

/// What is older than a time goes, to the millisecond.
pub async fn old_ones_are_purged(stores: Stores) {
    signed_in(&stores, 1).await;
    stores.security_events.note(&[event(1, 1, 1), event(2, 1, 2), event(3, 1, 3)]).await.unwrap();
    assert_eq!(stores.security_events.purge(at(3)).await.unwrap(), 2);
    assert_eq!(stores.security_events.purge(at(3)).await.unwrap(), 0);
    assert_eq!(numbers(&stores.security_events.list(account_id(1), None, 10).await.unwrap()), [3]);
}
