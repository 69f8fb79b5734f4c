//! Incidents, webhooks that wait, and the census.

use bowerbird_core::ports::{
    Cas, CensusEntry, ClaimedDelivery, CountedState, Incident, IncidentSubject, NewDelivery, Stores, TokenAge,
    UntoldAccess,
};
use bowerbird_core::{ConnectionId, CredentialRecord, CredentialState, NeedsReauth, Timestamp};

use super::fixtures::{T0, account_id, at, connection_id, granted, is_refused, none, race, signed_in};

const SUSPENDED: IncidentSubject = IncidentSubject::Installation("suspended");

fn incident(subject: IncidentSubject, kind: &'static str) -> Incident {
    Incident { subject, kind, reason: "", since: at(1) }
}

fn of(connection: ConnectionId, kind: &'static str) -> Incident {
    incident(IncidentSubject::Access(connection), kind)
}

fn delivery(id: u32, endpoint: &str, account: Option<u32>) -> NewDelivery {
    NewDelivery {
        id: format!("{id:08}"),
        endpoint: endpoint.to_owned(),
        message: format!("message {id}"),
        body: format!("{{\"number\":{id}}}"),
        account: account.map(account_id),
        created_at: at(i64::from(id)),
    }
}

/// A credential that needs its person.
async fn in_need(stores: &Stores, number: u32) -> CredentialRecord {
    let record = granted(stores, number).await;
    let state = CredentialState::NeedsReauth(NeedsReauth::Revoked);
    let done = stores.credentials.set_state(record.connection, record.generation, &state, none()).await.unwrap();
    assert_eq!(done, Cas::Done);
    record
}

async fn claim(stores: &Stores, endpoint: &str, now: i64, until: i64) -> Vec<ClaimedDelivery> {
    stores.alerts.claim(endpoint, at(now), at(until), 10).await.unwrap()
}

fn ids(claimed: &[ClaimedDelivery]) -> Vec<&str> {
    claimed.iter().map(|delivery| delivery.id.as_str()).collect()
}

/// What is open is not opened again; what is closed is not closed again; after that it can be opened anew.
pub async fn an_incident_is_opened_once_and_closed_once(stores: Stores) {
    let access = in_need(&stores, 1).await.connection;
    for (round, subject) in [SUSPENDED, IncidentSubject::Access(access), SUSPENDED].into_iter().enumerate() {
        let number = u32::try_from(round).unwrap() * 10;
        let open = async |id| {
            let about = incident(subject.clone(), "broken");
            stores.alerts.open(&about, &[delivery(number + id, "a", None)]).await.unwrap()
        };
        let close = async |id| stores.alerts.close(&subject, &[delivery(number + id, "a", None)]).await.unwrap();
        assert_eq!(close(1).await, Cas::Stale, "{subject:?}");
        assert_eq!(open(2).await, Cas::Done, "{subject:?}");
        assert_eq!(open(3).await, Cas::Stale, "{subject:?}");
        assert_eq!(close(4).await, Cas::Done, "{subject:?}");
        assert_eq!(close(5).await, Cas::Stale, "{subject:?}");
        let told = claim(&stores, "a", 1000, 2000).await;
        assert_eq!(ids(&told), [format!("{:08}", number + 2), format!("{:08}", number + 4)], "only what was done");
        for delivery in told {
            assert_eq!(stores.alerts.settle(&delivery).await.unwrap(), Cas::Done);
        }
    }
}

/// Of many instances that hear of the same, one tells.
pub async fn one_of_many_opens_and_one_of_many_closes(stores: Stores) {
    let access = in_need(&stores, 1).await.connection;
    let opened = race(20, |number| {
        let alerts = stores.alerts.clone();
        let told = [delivery(number, "a", Some(1))];
        async move { alerts.open(&of(access, "needs_reauth"), &told).await.unwrap() }
    })
    .await;
    assert_eq!(opened.iter().filter(|cas| **cas == Cas::Done).count(), 1);
    let closed = race(20, |number| {
        let alerts = stores.alerts.clone();
        let told = [delivery(100 + number, "a", Some(1))];
        async move { alerts.close(&IncidentSubject::Access(access), &told).await.unwrap() }
    })
    .await;
    assert_eq!(closed.iter().filter(|cas| **cas == Cas::Done).count(), 1);
    assert_eq!(stores.alerts.waiting(100).await.unwrap(), 2);
}

/// A doubt that ends badly is told again; the same thing for another reason is, too.
pub async fn an_incident_of_another_kind_is_told_and_one_of_the_same_is_not(stores: Stores) {
    let access = in_need(&stores, 1).await.connection;
    let open = async |kind, reason| {
        let about = Incident { reason, ..of(access, kind) };
        stores.alerts.open(&about, &[]).await.unwrap()
    };
    assert_eq!(open("outcome_unknown", "").await, Cas::Done);
    assert_eq!(open("outcome_unknown", "").await, Cas::Stale);
    assert_eq!(open("lost_response", "lost_response").await, Cas::Done);
    assert_eq!(open("lost_response", "lost_response").await, Cas::Stale);
    assert_eq!(open("needs_reauth", "revoked").await, Cas::Done);
    assert_eq!(open("needs_reauth", "scope_lost").await, Cas::Done);
    assert_eq!(stores.alerts.close(&IncidentSubject::Access(access), &[]).await.unwrap(), Cas::Done);
    assert_eq!(stores.alerts.close(&IncidentSubject::Access(access), &[]).await.unwrap(), Cas::Stale, "it was one");
}

/// News that come late, from an instance that was slow, open nothing.
pub async fn no_incident_of_an_access_that_works_or_is_gone(stores: Stores) {
    let works = granted(&stores, 1).await.connection;
    let told = [delivery(1, "a", None)];
    for connection in [works, connection_id(9)] {
        assert_eq!(stores.alerts.open(&of(connection, "needs_reauth"), &told).await.unwrap(), Cas::Stale);
    }
    assert_eq!(stores.alerts.waiting(10).await.unwrap(), 0);
}

/// When a credential or its account goes, so does the incident: the next one is told.
pub async fn an_incident_goes_with_its_credential(stores: Stores) {
    let first = in_need(&stores, 1).await;
    let about = of(first.connection, "needs_reauth");
    assert_eq!(stores.alerts.open(&about, &[]).await.unwrap(), Cas::Done);
    assert_eq!(stores.credentials.remove(first.connection, first.generation).await.unwrap(), Cas::Done);
    assert_eq!(stores.alerts.close(&about.subject, &[]).await.unwrap(), Cas::Stale);

    let second = in_need(&stores, 2).await;
    let about = of(second.connection, "needs_reauth");
    assert_eq!(stores.alerts.open(&about, &[]).await.unwrap(), Cas::Done);
    assert!(stores.accounts.remove(second.account).await.unwrap());
    assert_eq!(stores.alerts.close(&about.subject, &[]).await.unwrap(), Cas::Stale);
}

/// An instance that died between the row and the incident leaves a trace.
pub async fn what_nobody_told_is_found(stores: Stores) {
    let untold = async || stores.alerts.untold(10).await.unwrap();
    granted(&stores, 1).await;
    assert_eq!(untold().await, []);
    let need = in_need(&stores, 2).await;
    let (account, connection) = (need.account, need.connection);
    let found = UntoldAccess { account, connection, reason: Some(NeedsReauth::Revoked) };
    assert_eq!(untold().await, [found]);
    assert_eq!(stores.alerts.open(&of(connection, "outcome_unknown"), &[]).await.unwrap(), Cas::Done);
    assert_eq!(untold().await, [found], "a doubt was told, and not how it ended");
    assert_eq!(stores.alerts.open(&of(connection, "needs_reauth"), &[]).await.unwrap(), Cas::Done);
    assert_eq!(untold().await, []);
    let done = stores.credentials.set_state(connection, need.generation, &CredentialState::Ok, none()).await.unwrap();
    assert_eq!(done, Cas::Done);
    assert_eq!(untold().await, [UntoldAccess { reason: None, ..found }]);
    assert_eq!(stores.alerts.close(&IncidentSubject::Access(connection), &[]).await.unwrap(), Cas::Done);
    assert_eq!(untold().await, []);
    for number in 3..=6 {
        in_need(&stores, number).await;
    }
    assert_eq!(stores.alerts.untold(3).await.unwrap().len(), 3);
}

/// Of many instances one gets it; it comes back when that one says so, or says nothing until its claim ends.
pub async fn a_delivery_is_claimed_once_and_comes_back_when_the_claim_ends(stores: Stores) {
    stores.alerts.enqueue(&[delivery(1, "a", None)]).await.unwrap();
    assert_eq!(stores.alerts.next_due("a").await.unwrap(), Some(at(1)));
    assert_eq!(claim(&stores, "a", 0, 60).await, [], "not before its time");
    let claims = race(20, |_| {
        let alerts = stores.alerts.clone();
        async move { alerts.claim("a", at(1), at(61), 10).await.unwrap() }
    })
    .await;
    let claims: Vec<_> = claims.into_iter().flatten().collect();
    let [first] = &claims[..] else { panic!("{claims:?}") };
    assert_eq!((first.attempts, first.until), (1, at(61)));
    assert_eq!((first.message.as_str(), first.body.as_str()), ("message 1", "{\"number\":1}"));
    assert_eq!(stores.alerts.next_due("a").await.unwrap(), Some(at(61)));

    assert_eq!(stores.alerts.postpone(first, at(30)).await.unwrap(), Cas::Done);
    assert_eq!(claim(&stores, "a", 29, 90).await, []);
    let second = claim(&stores, "a", 30, 90).await;
    assert_eq!(second[0].attempts, 2);
    // Whoever has it now died: at the end of the claim it is another's.
    assert_eq!(claim(&stores, "a", 89, 150).await, []);
    let third = claim(&stores, "a", 90, 150).await;
    assert_eq!(third[0].attempts, 3);
    assert_eq!(stores.alerts.settle(&third[0]).await.unwrap(), Cas::Done);
    assert_eq!(stores.alerts.next_due("a").await.unwrap(), None);
}

/// An instance that was asleep neither ends nor postpones what another one has by now.
pub async fn a_claim_that_is_over_changes_nothing(stores: Stores) {
    stores.alerts.enqueue(&[delivery(1, "a", None)]).await.unwrap();
    let old = claim(&stores, "a", 1, 61).await;
    let new = claim(&stores, "a", 61, 121).await;
    assert_eq!(stores.alerts.postpone(&old[0], at(500)).await.unwrap(), Cas::Stale);
    assert_eq!(stores.alerts.settle(&old[0]).await.unwrap(), Cas::Stale);
    assert_eq!(stores.alerts.next_due("a").await.unwrap(), Some(at(121)));
    assert_eq!(stores.alerts.settle(&new[0]).await.unwrap(), Cas::Done);
    assert_eq!(stores.alerts.settle(&new[0]).await.unwrap(), Cas::Stale);
}

/// An endpoint that is down holds nothing up for another one.
pub async fn deliveries_are_of_one_endpoint_and_in_order(stores: Stores) {
    let three = [delivery(3, "a", None), delivery(1, "a", None), delivery(2, "b", None)];
    stores.alerts.enqueue(&three).await.unwrap();
    let first = stores.alerts.claim("a", at(10), at(70), 1).await.unwrap();
    assert_eq!(ids(&first), ["00000001"], "the longest due first");
    assert_eq!(ids(&claim(&stores, "a", 10, 70).await), ["00000003"]);
    assert_eq!(ids(&claim(&stores, "b", 10, 70).await), ["00000002"]);
    assert_eq!(claim(&stores, "c", 10, 70).await, []);
}

/// What was to be told about somebody who is gone is not told.
pub async fn deliveries_of_an_account_go_with_it(stores: Stores) {
    signed_in(&stores, 1).await;
    signed_in(&stores, 2).await;
    let three = [delivery(1, "a", Some(1)), delivery(2, "a", Some(2)), delivery(3, "a", None)];
    stores.alerts.enqueue(&three).await.unwrap();
    stores.accounts.remove(account_id(1)).await.unwrap();
    assert_eq!(ids(&claim(&stores, "a", 10, 70).await).len(), 2);
    assert!(is_refused(&stores.alerts.enqueue(&[delivery(4, "a", Some(1))]).await));
}

/// Both or neither: an incident that nobody could be told of is told the next time.
pub async fn a_refused_delivery_keeps_the_incident_from_opening(stores: Stores) {
    let access = in_need(&stores, 1).await.connection;
    let about = of(access, "needs_reauth");
    let told = [delivery(1, "a", None), delivery(2, "a", Some(9))];
    assert!(is_refused(&stores.alerts.open(&about, &told).await));
    assert_eq!(stores.alerts.waiting(10).await.unwrap(), 0);
    assert_eq!(stores.alerts.open(&about, &told[..1]).await.unwrap(), Cas::Done);
    assert!(is_refused(&stores.alerts.close(&about.subject, &told[1..]).await));
    assert_eq!(stores.alerts.close(&about.subject, &[]).await.unwrap(), Cas::Done, "it stayed open");
}

/// Counting costs no more than asked for; what is older than a time goes, at any endpoint.
pub async fn waiting_is_counted_up_to_a_number_and_old_ones_are_purged(stores: Stores) {
    let some: Vec<_> = (1..=5).map(|id| delivery(id, &format!("endpoint {id}"), None)).collect();
    stores.alerts.enqueue(&some).await.unwrap();
    assert_eq!(stores.alerts.waiting(10).await.unwrap(), 5);
    assert_eq!(stores.alerts.waiting(3).await.unwrap(), 3);
    assert_eq!(stores.alerts.purge(at(3)).await.unwrap(), 2);
    assert_eq!(stores.alerts.waiting(10).await.unwrap(), 3);
}

/// By state, reason and age of the tokens, with the oldest of each.
pub async fn the_census_counts_by_state_and_age(stores: Stores) {
    let census = async |now: Timestamp| {
        let mut entries = stores.alerts.census(now).await.unwrap();
        entries.sort_by_key(|entry| (entry.state.name(), entry.age));
        entries
    };
    assert_eq!(census(T0).await, []);
    for number in [1, 2, 3] {
        granted(&stores, number).await;
    }
    in_need(&stores, 4).await;
    let doubt = granted(&stores, 5).await;
    let state = CredentialState::Unknown { intent_at: at(9) };
    let done = stores.credentials.set_state(doubt.connection, doubt.generation, &state, none()).await.unwrap();
    assert_eq!(done, Cas::Done);
    // Every fixture's tokens are of one second after the beginning.
    let entry = |state, age, number| CensusEntry { state, age, number, oldest: at(1) };
    let need = CountedState::NeedsReauth(NeedsReauth::Revoked);
    for (now, age) in [
        (at(3600), TokenAge::UnderHour),
        (at(3601), TokenAge::UnderDay),
        (at(86_401), TokenAge::UnderWeek),
        (at(604_801), TokenAge::UnderFortnight),
        (at(1_209_601), TokenAge::UnderQuarter),
        (at(7_776_001), TokenAge::Older),
    ] {
        let expected = [entry(need, age, 1), entry(CountedState::Ok, age, 3), entry(CountedState::Unknown, age, 1)];
        assert_eq!(census(now).await, expected, "{now:?}");
    }
}
