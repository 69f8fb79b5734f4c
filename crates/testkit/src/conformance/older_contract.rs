//! The addresses that a session was put into.

use bowerbird_core::ports::{OlderContractUse, Stores};

use super::fixtures::{T0, at, race};

/// Each address is counted by itself, with its first and its last time; the one used last comes first.
pub async fn each_address_is_counted_by_itself(stores: Stores) {
    let store = &stores.older_contract;
    assert_eq!(store.list().await.unwrap(), []);
    for (address, seconds) in [("app://auth", 0), ("limit://auth", 5), ("app://auth", 9), ("app://auth", 7)] {
        store.note(address, at(seconds)).await.unwrap();
    }
    let app = OlderContractUse { address: "app://auth".to_owned(), first_at: T0, last_at: at(9), times: 3 };
    let limit = OlderContractUse { address: "limit://auth".to_owned(), first_at: at(5), last_at: at(5), times: 1 };
    assert_eq!(store.list().await.unwrap(), [app, limit], "a clock that is behind moves nothing back");
}

/// Sessions at the same moment are each counted.
pub async fn none_is_lost_at_the_same_moment(stores: Stores) {
    let noted = race(30, |_| {
        let store = stores.older_contract.clone();
        async move { store.note("app://auth", at(1)).await }
    });
    assert!(noted.await.iter().all(Result::is_ok));
    assert_eq!(stores.older_contract.list().await.unwrap()[0].times, 30);
}
