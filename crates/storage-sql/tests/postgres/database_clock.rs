//! Instances whose clocks differ share one database.

use bowerbird_core::ports::{BegunRefresh, LeaseRequest, Stores};
use bowerbird_core::{CredentialRecord, CredentialState, Generation, Schedule};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::conformance::{T0, granted};

use crate::server::Server;
use crate::support::change;

/// Far apart, and all of them far from the server's.
const HOURS_OFF: [i64; 4] = [-1, 1, -10_000, 10_000];

async fn begin(stores: &Stores, record: &CredentialRecord, hours_off: i64) -> Option<BegunRefresh> {
    let lease = LeaseRequest { owner: "instance", now: T0.plus_seconds(hours_off * 3600), seconds: 120 };
    stores.credentials.begin_refresh(record.connection, Generation::FIRST, lease).await.expect("asks")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_with_other_clocks_begins() {
    let Some(server) = Server::start().await else { return };
    let url = server.new_schema().await;
    let instances = futures_util::future::join_all((0..2).map(|_| SqlStores::open(&url))).await;
    let instances: Vec<_> = instances.into_iter().map(|opened| opened.expect("opens").stores()).collect();
    for round in 0..5 {
        let record = granted(&instances[0], round).await;
        let contenders: Vec<_> = (0..20)
            .map(|number: usize| {
                let (stores, record) = (instances[number % 2].clone(), record.clone());
                tokio::spawn(async move { begin(&stores, &record, HOURS_OFF[number % 4]).await })
            })
            .collect();
        let mut begun = Vec::new();
        for contender in contenders {
            begun.extend(contender.await.expect("runs"));
        }
        assert_eq!(begun.len(), 1, "{begun:?}");
        let stored = instances[1].credentials.find(record.connection).await.expect("reads").expect("is there");
        let (intent_at, lease_until) = (begun[0].intent_at, begun[0].lease_until);
        assert_eq!(stored.state, CredentialState::Refreshing { lease_until, intent_at });
        assert_eq!(stored.schedule.due_at, Some(lease_until));
        assert_eq!(lease_until.millis_since(intent_at), 120_000);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_and_a_quiet_time_end_by_the_servers_clock() {
    let Some(server) = Server::start().await else { return };
    let url = server.new_schema().await;
    let stores = SqlStores::open(&url).await.expect("opens").stores();
    let record = granted(&stores, 1).await;
    let first = begin(&stores, &record, -1).await.expect("free");
    for hours_off in HOURS_OFF {
        assert_eq!(begin(&stores, &record, hours_off).await, None, "the lease runs");
    }
    // As if two minutes had passed on the server, and on no other clock.
    change(&url, "UPDATE credentials SET lease_until = lease_until - 121000").await;
    for hours_off in HOURS_OFF {
        assert_eq!(begin(&stores, &record, hours_off).await, None, "the intent is younger than its quiet time");
    }
    change(&url, "UPDATE credentials SET intent_at = intent_at - 121000").await;
    let second = begin(&stores, &record, -1).await.expect("the lease is over and it was quiet");
    assert!(second.intent_at >= first.intent_at, "the same clock");
    assert!(matches!(second.before.state, CredentialState::Refreshing { .. }));

    let unknown = CredentialState::Unknown { intent_at: second.intent_at };
    let set = stores.credentials.set_state(record.connection, Generation::FIRST, &unknown, Schedule::default()).await;
    assert_eq!(set.expect("writes"), bowerbird_core::ports::Cas::Done);
    for hours_off in HOURS_OFF {
        assert_eq!(begin(&stores, &record, hours_off).await, None, "the fate is unknown, and the quiet time runs");
    }
    change(&url, "UPDATE credentials SET intent_at = intent_at - 61000").await;
    assert!(begin(&stores, &record, -1).await.is_some());
    server.stop().await;
}
