//! Sealed credentials: what is stored, and compare-and-swap by generation. Leases are in [`super::leases`].

use bowerbird_core::ports::{Cas, DueCredential, Stores};
use bowerbird_core::{
    CredentialRecord, CredentialState, Generation, NeedsReauth, RefreshClass, Schedule, SealedFields, SealedTokens,
    WrappedDataKey,
};

use super::fixtures::{
    account_id, at, connected, connection_id, grant, granted, is_refused, later, lease, none, race, signed_in, stored,
    ten, tokens,
};

/// Every state there is.
pub(super) fn every_state() -> Vec<CredentialState> {
    let mut states = vec![
        CredentialState::Ok,
        CredentialState::Refreshing { lease_until: at(120), intent_at: at(7) },
        CredentialState::Unknown { intent_at: at(8) },
    ];
    states.extend(NeedsReauth::ALL.map(CredentialState::NeedsReauth));
    states
}

/// A record is read as it was written, in every state, with and without what is optional.
pub async fn every_field_and_state_comes_back(stores: Stores) {
    let mut last = granted(&stores, 1).await;
    assert_eq!(stored(&stores, &last).await, last);
    for state in every_state() {
        for (client_kid, refresh_token, refresh_class) in [
            (None, None, RefreshClass::Graceful),
            (Some(String::new()), Some(Vec::new()), RefreshClass::SingleUse),
            (Some("k".to_owned()), Some((0..=255).cycle().take(20_000).collect()), RefreshClass::SingleUse),
        ] {
            let seen = last.generation;
            last = CredentialRecord {
                generation: seen.next(),
                state: state.clone(),
                client_kid,
                refresh_class,
                fields: SealedFields { granted_generation: seen.next(), ..last.fields },
                tokens: SealedTokens { refresh_token, ..tokens(2) },
                ..last
            };
            assert_eq!(stores.credentials.replace(&last, Some(seen)).await.unwrap(), Cas::Done);
            assert_eq!(stored(&stores, &last).await, last);
        }
    }
    assert_eq!(stores.credentials.find(connection_id(2)).await.unwrap(), None);
}

/// A data key that is read beside the row is the one of its account, or none is.
pub async fn a_key_beside_the_row_is_its_accounts(stores: Stores) {
    let (first, second) = (granted(&stores, 1).await, granted(&stores, 2).await);
    let made = |account, byte| WrappedDataKey { account, kek_id: "k1".to_owned(), wrapped: vec![byte; 72] };
    let (record, key) = stores.credentials.find_with_key(first.connection).await.unwrap().unwrap();
    assert_eq!((record, key), (first.clone(), None));
    stores.data_keys.ensure(&made(second.account, 2)).await.unwrap();
    let (_, key) = stores.credentials.find_with_key(first.connection).await.unwrap().unwrap();
    assert_eq!(key, None);
    let own = stores.data_keys.ensure(&made(first.account, 1)).await.unwrap();
    let (record, key) = stores.credentials.find_with_key(first.connection).await.unwrap().unwrap();
    assert_eq!(record, first);
    assert!(key.is_none_or(|key| key == own));
    assert_eq!(stores.credentials.find_with_key(connection_id(3)).await.unwrap(), None);
}

/// Of many first grants for one connection one is stored; the others are told so.
pub async fn a_first_grant_is_added_once(stores: Stores) {
    connected(&stores, 1).await;
    let offered = |number: u32| CredentialRecord { subject: format!("subject {number}"), ..grant(1) };
    let outcomes = race(20, |number| {
        let credentials = stores.credentials.clone();
        async move { credentials.replace(&offered(number), None).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|cas| **cas == Cas::Done).count(), 1);
    let winner = u32::try_from(outcomes.iter().position(|cas| *cas == Cas::Done).unwrap()).unwrap();
    assert_eq!(stored(&stores, &grant(1)).await, offered(winner));
}

/// A grant replaces the generation that it names, only with a higher one.
pub async fn a_grant_replaces_only_what_was_seen(stores: Stores) {
    let first = granted(&stores, 1).await;
    let second =
        CredentialRecord { generation: Generation(5), issuer: "https://new.example.com".to_owned(), ..grant(1) };
    for seen in [None, Some(Generation(0)), Some(Generation(2))] {
        assert_eq!(stores.credentials.replace(&second, seen).await.unwrap(), Cas::Stale);
    }
    for generation in [first.generation, Generation(0), Generation(-1)] {
        let lower = CredentialRecord { generation, ..second.clone() };
        assert!(is_refused(&stores.credentials.replace(&lower, Some(first.generation)).await));
    }
    assert_eq!(stored(&stores, &first).await, first);

    assert_eq!(stores.credentials.replace(&second, Some(first.generation)).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.replace(&second, Some(first.generation)).await.unwrap(), Cas::Stale);
    assert_eq!(stored(&stores, &first).await, second);

    // Nothing to replace.
    connected(&stores, 2).await;
    let missing = CredentialRecord { generation: Generation(2), ..grant(2) };
    assert_eq!(stores.credentials.replace(&missing, Some(Generation(1))).await.unwrap(), Cas::Stale);
    assert_eq!(stores.credentials.find(connection_id(2)).await.unwrap(), None);
}

/// A credential hangs from a connection that is there, and from that connection's account.
pub async fn a_grant_needs_its_own_connection(stores: Stores) {
    signed_in(&stores, 1).await;
    assert!(is_refused(&stores.credentials.replace(&grant(1), None).await));

    let first = granted(&stores, 2).await;
    let stolen = CredentialRecord { account: account_id(1), ..grant(2) };
    let higher = CredentialRecord { generation: Generation(2), ..stolen.clone() };
    assert!(is_refused(&stores.credentials.replace(&higher, Some(Generation(1))).await));
    assert_eq!(stored(&stores, &first).await, first);

    connected(&stores, 3).await;
    let stolen = CredentialRecord { connection: connection_id(3), ..stolen };
    assert!(is_refused(&stores.credentials.replace(&stolen, None).await));
    assert_eq!(stores.credentials.find(connection_id(3)).await.unwrap(), None);
}

/// A writer of another generation, older or newer, changes nothing.
pub async fn a_stale_generation_changes_nothing(stores: Stores) {
    let first = granted(&stores, 1).await;
    let (connection, state) = (first.connection, CredentialState::NeedsReauth(NeedsReauth::Revoked));
    for seen in [Generation(0), Generation(2), Generation(i64::MAX - 1)] {
        let committed = stores.credentials.commit_refresh(connection, seen, &tokens(9), &state, none()).await.unwrap();
        let set = stores.credentials.set_state(connection, seen, &state, none()).await.unwrap();
        let begun = stores.credentials.begin_refresh(connection, seen, ten()).await.unwrap();
        assert_eq!((committed, set, begun), (Cas::Stale, Cas::Stale, None));
    }
    assert_eq!(stored(&stores, &first).await, first);

    let gone = connection_id(2);
    let seen = Generation::FIRST;
    assert_eq!(stores.credentials.commit_refresh(gone, seen, &tokens(9), &state, none()).await.unwrap(), Cas::Stale);
    assert_eq!(stores.credentials.set_state(gone, seen, &state, none()).await.unwrap(), Cas::Stale);
    assert_eq!(stores.credentials.begin_refresh(gone, seen, ten()).await.unwrap(), None);
}

/// Setting a state leaves tokens and generation alone, and ends a lease unless it is one.
pub async fn a_state_is_all_that_set_state_changes(stores: Stores) {
    let first = granted(&stores, 1).await;
    for state in every_state() {
        let set = stores.credentials.set_state(first.connection, first.generation, &state, later()).await;
        assert_eq!(set.unwrap(), Cas::Done);
        assert_eq!(stored(&stores, &first).await, CredentialRecord { state, ..first.clone() });
    }
    let schedule = Schedule { attempts: 3, not_before: None, due_at: Some(at(99)) };
    let set = stores.credentials.set_state(first.connection, first.generation, &CredentialState::Ok, schedule).await;
    assert_eq!(set.unwrap(), Cas::Done);
    assert_eq!(stored(&stores, &first).await, CredentialRecord { schedule, ..first.clone() });

    let begin = async |now| {
        let lease = lease(at(now), at(now + 120));
        stores.credentials.begin_refresh(first.connection, first.generation, lease).await.unwrap()
    };
    let set =
        async |state| stores.credentials.set_state(first.connection, first.generation, &state, none()).await.unwrap();
    assert_eq!(set(CredentialState::Ok).await, Cas::Done);
    assert!(begin(10).await.is_some());
    assert!(begin(11).await.is_none());
    assert_eq!(set(CredentialState::Ok).await, Cas::Done);
    assert!(begin(12).await.is_some(), "the lease was released");
}

/// Counts are per reason and, for those that live, per client key; what does not occur is not listed.
pub async fn counts_are_by_reason_and_by_client_key(stores: Stores) {
    assert_eq!(stores.credentials.count_by_reason().await.unwrap(), []);
    assert_eq!(stores.credentials.count_by_client_key().await.unwrap(), []);

    let unknown = CredentialState::Unknown { intent_at: at(1) };
    let revoked = CredentialState::NeedsReauth(NeedsReauth::Revoked);
    let lost = CredentialState::NeedsReauth(NeedsReauth::LostResponse);
    let rows = [
        (Some("a"), CredentialState::Ok),
        (Some("a"), unknown),
        (Some("b"), CredentialState::Refreshing { lease_until: at(9), intent_at: at(1) }),
        (None, CredentialState::Ok),
        (Some("a"), revoked.clone()),
        (Some("old"), revoked),
        (None, lost),
    ];
    for (number, (kid, state)) in (1..).zip(rows) {
        connected(&stores, number).await;
        let record = CredentialRecord { client_kid: kid.map(str::to_owned), state, ..grant(number) };
        assert_eq!(stores.credentials.replace(&record, None).await.unwrap(), Cas::Done);
    }

    let mut by_reason = stores.credentials.count_by_reason().await.unwrap();
    by_reason.sort_by_key(|(reason, _)| reason.map(NeedsReauth::code));
    assert_eq!(by_reason, [(None, 4), (Some(NeedsReauth::LostResponse), 1), (Some(NeedsReauth::Revoked), 2)]);
    let mut by_key = stores.credentials.count_by_client_key().await.unwrap();
    by_key.sort();
    assert_eq!(by_key, [(None, 1), (Some("a".to_owned()), 2), (Some("b".to_owned()), 1)]);
}

/// Removing says whether there was something, leaves the connection, and lets a new grant begin.
pub async fn removing_is_told_once(stores: Stores) {
    let first = granted(&stores, 1).await;
    assert_eq!(stores.credentials.remove(first.connection, first.generation).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.remove(first.connection, first.generation).await.unwrap(), Cas::Stale);
    assert_eq!(stores.credentials.find(first.connection).await.unwrap(), None);
    assert_eq!(stores.connections.list(first.account).await.unwrap().len(), 1);
    assert_eq!(stores.credentials.replace(&first, None).await.unwrap(), Cas::Done);
}

/// Removing takes only the generation that was seen, whether a refresh or a login made the later one.
pub async fn removing_takes_only_what_was_seen(stores: Stores) {
    let first = granted(&stores, 1).await;
    let connection = first.connection;
    for seen in [Generation(0), Generation(2), Generation(i64::MAX)] {
        assert_eq!(stores.credentials.remove(connection, seen).await.unwrap(), Cas::Stale);
    }
    assert_eq!(stored(&stores, &first).await, first);

    let state = CredentialState::Ok;
    let committed =
        stores.credentials.commit_refresh(connection, Generation(1), &tokens(2), &state, none()).await.unwrap();
    assert_eq!(committed, Cas::Done);
    assert_eq!(stores.credentials.remove(connection, Generation(1)).await.unwrap(), Cas::Stale);
    let login = CredentialRecord { generation: Generation(3), tokens: tokens(3), ..grant(1) };
    assert_eq!(stores.credentials.replace(&login, Some(Generation(2))).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.remove(connection, Generation(2)).await.unwrap(), Cas::Stale);
    assert_eq!(stored(&stores, &first).await, login);

    // The state is no part of what was seen.
    let state = CredentialState::Unknown { intent_at: at(1) };
    assert_eq!(stores.credentials.set_state(connection, Generation(3), &state, none()).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.remove(connection, Generation(3)).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.find(connection).await.unwrap(), None);

    // Another connection's row of the same generation is not touched.
    let other = granted(&stores, 2).await;
    granted(&stores, 3).await;
    assert_eq!(stores.credentials.remove(connection_id(3), Generation::FIRST).await.unwrap(), Cas::Done);
    assert_eq!(stored(&stores, &other).await, other);
}

/// Of a removal and a login at the same moment either the login's grant stays, or there was nothing to replace.
pub async fn a_removal_never_takes_a_racing_login_along(stores: Stores) {
    for number in 1..=10 {
        let first = granted(&stores, number).await;
        let login = CredentialRecord { generation: Generation(2), tokens: tokens(7), ..grant(number) };
        let outcomes = race(2, |contender| {
            let (credentials, login) = (stores.credentials.clone(), login.clone());
            async move {
                if contender == 0 {
                    credentials.replace(&login, Some(Generation(1))).await.unwrap()
                } else {
                    credentials.remove(login.connection, Generation(1)).await.unwrap()
                }
            }
        })
        .await;
        let left = stores.credentials.find(first.connection).await.unwrap();
        match outcomes[..] {
            [Cas::Done, Cas::Stale] => assert_eq!(left, Some(login)),
            [Cas::Stale, Cas::Done] => assert_eq!(left, None),
            _ => panic!("{outcomes:?}"),
        }
    }
}

/// What is due comes by its time, in pages, and nothing else comes.
pub async fn due_is_by_time_and_in_pages(stores: Stores) {
    for number in 1..=6 {
        connected(&stores, number).await;
        // 4 and 5 at the same moment, 6 never.
        let due_at = [None, Some(at(50)), Some(at(20)), Some(at(70)), Some(at(60)), Some(at(60)), None];
        let schedule = Schedule { due_at: due_at[number as usize], ..none() };
        let record = CredentialRecord { schedule, ..grant(number) };
        assert_eq!(stores.credentials.replace(&record, None).await.unwrap(), Cas::Done);
    }
    let due = async |now, after, limit| stores.credentials.due(at(now), after, limit).await.unwrap();
    assert_eq!(due(19, None, 10).await, []);
    let first = due(20, None, 10).await;
    let expected = DueCredential {
        connection: connection_id(2),
        generation: Generation::FIRST,
        issuer: "https://issuer.example.com".to_owned(),
        due_at: at(20),
    };
    assert_eq!(first, [expected]);

    let all: Vec<_> = due(100, None, 10).await.iter().map(|entry| (entry.due_at, entry.connection)).collect();
    let order = [(20, 2), (50, 1), (60, 4), (60, 5), (70, 3)];
    assert_eq!(all, order.map(|(due_at, number)| (at(due_at), connection_id(number))));
    let (mut pages, mut after) = (Vec::new(), None);
    while let Some(entry) = due(100, after, 1).await.pop() {
        after = Some((entry.due_at, entry.connection));
        pages.extend(after);
    }
    assert_eq!(pages, all);
}

/// A use is noted when it is later than the one that is known.
pub async fn a_use_only_moves_forward(stores: Stores) {
    let (first, second) = (granted(&stores, 1).await, granted(&stores, 2).await);
    let uses = [(first.connection, at(100)), (second.connection, at(1)), (connection_id(9), at(5))];
    stores.credentials.note_use(&uses).await.unwrap();
    stores.credentials.note_use(&[(first.connection, at(50))]).await.unwrap();
    stores.credentials.note_use(&[]).await.unwrap();
    assert_eq!(stored(&stores, &first).await, CredentialRecord { used_at: at(100), ..first.clone() });
    assert_eq!(stored(&stores, &second).await, second);
}
