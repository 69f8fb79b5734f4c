//! Taking a lease with its intent, and committing what a refresh gave.

use bowerbird_core::ports::{BegunRefresh, Cas, Stores};
use bowerbird_core::{CredentialRecord, CredentialState, Generation, NeedsReauth, Schedule, SealedTokens};

use super::fixtures::{at, grant, granted, later, lease, none, race, stored, ten, tokens};

/// Of twenty that begin at once, one does.
pub async fn one_of_many_begins(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begun = race(20, |number| {
        let credentials = stores.credentials.clone();
        let (connection, generation) = (first.connection, first.generation);
        let lease = lease(at(10), at(130 + i64::from(number)));
        async move { credentials.begin_refresh(connection, generation, lease).await.unwrap() }
    })
    .await;
    let winners: Vec<i64> = (0..).zip(&begun).filter(|(_, row)| row.is_some()).map(|(number, _)| number).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let intent = CredentialState::Refreshing { lease_until: at(130 + winners[0]), intent_at: at(10) };
    assert_eq!(stored(&stores, &first).await.state, intent);
}

/// Beginning changes the state, counts the attempt and makes the row due at the lease's end, and nothing else; the caller
/// gets the row as it was before, whichever state that was.
pub async fn begin_writes_the_intent_and_gives_the_row_before(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begin = async |now, lease_until| {
        let lease = lease(at(now), at(lease_until));
        stores.credentials.begin_refresh(first.connection, first.generation, lease).await.unwrap()
    };
    let schedule = |attempts, due| Schedule { attempts, due_at: Some(at(due)), ..first.schedule };
    let with = |state, attempts, due| CredentialRecord { state, schedule: schedule(attempts, due), ..first.clone() };
    let begun = |before, intent, lease| Some(BegunRefresh { before, intent_at: at(intent), lease_until: at(lease) });
    assert_eq!(begin(10, 130).await, begun(with(CredentialState::Ok, 1, 130), 10, 130));
    let intent = CredentialState::Refreshing { lease_until: at(130), intent_at: at(10) };
    assert_eq!(stored(&stores, &first).await, with(intent.clone(), 1, 130));

    assert_eq!(begin(130, 250).await, begun(with(intent, 2, 250), 130, 250));
    let intent = CredentialState::Refreshing { lease_until: at(250), intent_at: at(130) };
    assert_eq!(stored(&stores, &first).await, with(intent, 2, 250));

    let unknown = CredentialState::Unknown { intent_at: at(130) };
    let set = stores.credentials.set_state(first.connection, first.generation, &unknown, schedule(2, 900)).await;
    assert_eq!(set.unwrap(), Cas::Done);
    assert_eq!(begin(190, 310).await, begun(with(unknown, 3, 310), 190, 310));
}

/// Nobody begins before the lease is over and 60 s have passed since the intent, to the millisecond, by the caller's
/// clock.
pub async fn a_running_lease_or_a_quiet_time_keeps_others_out(stores: Stores) {
    let first = granted(&stores, 1).await;
    let refreshing = |lease, intent| CredentialState::Refreshing { lease_until: at(lease), intent_at: at(intent) };
    for (state, from) in [
        (refreshing(120, 0), 120),
        (refreshing(10, 0), 60),
        (CredentialState::Unknown { intent_at: at(0) }, 60),
        (CredentialState::Unknown { intent_at: at(-1000) }, -940),
    ] {
        let set = stores.credentials.set_state(first.connection, first.generation, &state, none()).await.unwrap();
        assert_eq!(set, Cas::Done);
        let begin = async |now, until| {
            stores.credentials.begin_refresh(first.connection, first.generation, lease(now, until)).await.unwrap()
        };
        assert_eq!(begin(at(from).plus_millis(-1), at(5000)).await, None, "{state:?}");
        assert_eq!(stored(&stores, &first).await.state, state);
        assert!(begin(at(from), at(5000)).await.is_some(), "{state:?}");
    }
}

/// A person's need is not answered by another refresh, and another generation is another token.
pub async fn begin_needs_the_seen_generation_and_no_person(stores: Stores) {
    let first = granted(&stores, 1).await;
    for reason in NeedsReauth::ALL {
        let state = CredentialState::NeedsReauth(reason);
        let set = stores.credentials.set_state(first.connection, first.generation, &state, none()).await.unwrap();
        assert_eq!(set, Cas::Done);
        let begun =
            stores.credentials.begin_refresh(first.connection, first.generation, lease(at(9999), at(19999))).await;
        assert_eq!(begun.unwrap(), None, "{reason:?}");
        assert_eq!(stored(&stores, &first).await.state, state);
    }
}

/// A commit writes tokens and state, adds one to the generation, ends the lease, and touches nothing else.
pub async fn a_commit_adds_a_generation_and_releases(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begin = async |seen| stores.credentials.begin_refresh(first.connection, seen, ten()).await.unwrap().is_some();
    assert!(begin(Generation(1)).await);
    let successor = SealedTokens { refresh_token: None, ..tokens(2) };
    let committed =
        stores.credentials.commit_refresh(first.connection, Generation(1), &successor, &CredentialState::Ok, later());
    assert_eq!(committed.await.unwrap(), Cas::Done);
    let expected =
        CredentialRecord { generation: Generation(2), tokens: successor, schedule: later(), ..first.clone() };
    assert_eq!(stored(&stores, &first).await, expected);

    assert!(!begin(Generation(1)).await);
    assert!(begin(Generation(2)).await, "the lease was released");

    // A successor that may not be used is kept all the same.
    let fault = CredentialState::NeedsReauth(NeedsReauth::SubjectMismatch);
    let committed =
        stores.credentials.commit_refresh(first.connection, Generation(2), &tokens(3), &fault, none()).await;
    assert_eq!(committed.unwrap(), Cas::Done);
    let (generation, schedule) = (Generation(3), none());
    let expected = CredentialRecord { generation, tokens: tokens(3), state: fault, schedule, ..first.clone() };
    assert_eq!(stored(&stores, &first).await, expected);
}

/// Whoever holds the successor is right, even when the lease has ended or another has begun.
pub async fn a_commit_lands_even_after_the_lease_was_lost(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begin = async |now, until| {
        let lease = lease(at(now), at(until));
        stores.credentials.begin_refresh(first.connection, Generation(1), lease).await.unwrap().is_some()
    };
    let commit = async |successor: &SealedTokens| {
        let state = CredentialState::Ok;
        stores.credentials.commit_refresh(first.connection, Generation(1), successor, &state, none()).await.unwrap()
    };
    assert!(begin(0, 120).await);
    assert!(begin(200, 320).await, "another took over");
    assert_eq!(commit(&tokens(2)).await, Cas::Done);
    assert_eq!(commit(&tokens(3)).await, Cas::Stale, "the other's tokens are of a spent generation");
    let row = stored(&stores, &first).await;
    assert_eq!((row.generation, row.tokens, row.state), (Generation(2), tokens(2), CredentialState::Ok));
}

/// A refresh that ends after a new login must not overwrite the new grant.
pub async fn a_commit_loses_against_a_new_grant(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begun = stores.credentials.begin_refresh(first.connection, Generation(1), lease(at(0), at(120))).await.unwrap();
    assert!(begun.is_some());
    let login = CredentialRecord { generation: Generation(2), tokens: tokens(7), ..grant(1) };
    assert_eq!(stores.credentials.replace(&login, Some(Generation(1))).await.unwrap(), Cas::Done);
    let (seen, late, state) = (Generation(1), tokens(2), CredentialState::Ok);
    let late = stores.credentials.commit_refresh(first.connection, seen, &late, &state, none()).await.unwrap();
    assert_eq!(late, Cas::Stale);
    assert_eq!(stored(&stores, &first).await, login);
    let begun = stores.credentials.begin_refresh(first.connection, Generation(2), lease(at(1), at(121))).await.unwrap();
    let before = begun.expect("the old lease does not bind the new grant").before;
    assert_eq!(CredentialRecord { schedule: login.schedule, ..before }, login);
}

/// Of many commits of one generation one lands, whole.
pub async fn one_of_many_commits(stores: Stores) {
    let first = granted(&stores, 1).await;
    let outcomes = race(20, |number| {
        let credentials = stores.credentials.clone();
        let (connection, successor) = (first.connection, tokens(u8::try_from(number).unwrap()));
        async move {
            let state = CredentialState::Ok;
            credentials.commit_refresh(connection, Generation(1), &successor, &state, none()).await.unwrap()
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|cas| **cas == Cas::Done).count(), 1);
    let winner = u8::try_from(outcomes.iter().position(|cas| *cas == Cas::Done).unwrap()).unwrap();
    let row = stored(&stores, &first).await;
    assert_eq!((row.generation, row.tokens), (Generation(2), tokens(winner)));
}

/// Whoever was stopped for longer than its lease changes nothing any more; the present holder ends its own.
pub async fn a_lost_lease_does_not_end_the_next_one(stores: Stores) {
    let first = granted(&stores, 1).await;
    let begin = async |now, until| {
        let lease = lease(at(now), at(until));
        stores
            .credentials
            .begin_refresh(first.connection, Generation(1), lease)
            .await
            .unwrap()
            .expect("begins")
            .intent_at
    };
    let end = async |intent, state: CredentialState| {
        stores.credentials.end_refresh(first.connection, Generation(1), intent, &state, later()).await.unwrap()
    };
    let lost = begin(0, 120).await;
    let held = begin(200, 320).await;
    let before = stored(&stores, &first).await;
    for state in [CredentialState::Ok, CredentialState::Unknown { intent_at: at(0) }] {
        assert_eq!(end(lost, state).await, Cas::Stale);
        assert_eq!(stored(&stores, &first).await, before);
    }
    assert_eq!(end(held, CredentialState::Ok).await, Cas::Done);
    let ended = CredentialRecord { state: CredentialState::Ok, schedule: later(), ..first.clone() };
    assert_eq!(stored(&stores, &first).await, ended);
    assert_eq!(end(held, CredentialState::Ok).await, Cas::Stale, "it has ended");
}
