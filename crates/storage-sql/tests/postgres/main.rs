//! The stores in a real PostgreSQL keep the contract of the ports. Runs on `BOWERBIRD_TEST_POSTGRES_URL` (in schemas of
//! its own, dropped at the end), else on a private server when PostgreSQL is installed, else says that it is skipped.
#![expect(clippy::expect_used, reason = "tests")]

mod database_clock;
mod device_log;
mod feed;
#[path = "../schema/mod.rs"]
mod schema;
mod schema_overlap;
mod server;
mod support;

use bowerbird_core::ports::Stores;
use bowerbird_core::testing::SeededEntropy;
use bowerbird_storage_sql::{OpenError, OpenOptions, SqlStores};

use self::server::Server;
use self::support::{change, open_by_callers_clock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_the_contract() {
    let Some(server) = Server::start().await else { return };
    let make = async || -> Stores {
        let url = server.new_schema().await;
        open_by_callers_clock(&url).await.stores()
    };
    bowerbird_testkit::conformance::run_all(make).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_again_together_and_with_one_id() {
    let Some(server) = Server::start().await else { return };
    let url = server.new_schema().await;
    // Instances that start together migrate once.
    let opened = futures_util::future::join_all((0..4).map(|_| SqlStores::open(&url))).await;
    let mut ids = Vec::new();
    for (seed, database) in (0..).zip(opened) {
        let database = database.expect("every instance opens");
        ids.push(database.cluster_id(&SeededEntropy::new(seed)).await.expect("an id"));
        database.ready().await.expect("ready");
        database.check().await.expect("sound");
        database.checkpoint().await.expect("nothing to do");
        database.close().await;
        assert!(database.ready().await.is_err(), "closed");
    }
    assert_eq!(ids[0].len(), 32);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    let again = SqlStores::open(&url).await.expect("opens again");
    assert_eq!(again.cluster_id(&SeededEntropy::new(9)).await.expect("an id"), ids[0]);
    again.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_other_instances() {
    let Some(server) = Server::start().await else { return };
    let url = server.new_schema().await;
    feed::changes_reach_other_instances(&url).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_device_sessions() {
    let Some(server) = Server::start().await else { return };
    device_log::says_what_a_copy_must_not_outlive(&server.new_schema().await).await;
    device_log::shows_changes_in_their_order(&server.new_schema().await).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_is_wrong() {
    let Some(server) = Server::start().await else { return };

    let url = server.new_schema().await;
    let lax = format!("{url}&options[synchronous_commit]=off");
    let refused = SqlStores::open(&lax).await;
    assert!(matches!(refused, Err(OpenError::NotDurable { setting: "synchronous_commit", .. })), "{refused:?}");

    SqlStores::open(&url).await.expect("opens").close().await;
    change(&url, "INSERT INTO schema_migrations SELECT 99990101000000, description, installed_on, success, checksum, execution_time FROM schema_migrations LIMIT 1").await;
    change(&url, "UPDATE schema_floor SET needs_step = 99990101000000").await;
    let refused = SqlStores::open(&url).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 99_990_101_000_000, .. })), "{refused:?}");

    let url = server.new_schema().await;
    SqlStores::open(&url).await.expect("opens").close().await;
    change(&url, "UPDATE schema_migrations SET checksum = decode('00', 'hex')").await;
    assert!(matches!(SqlStores::open(&url).await, Err(OpenError::History { .. })));

    let url = server.new_schema().await;
    change(&url, "CREATE TABLE accounts (somebody_elses INTEGER)").await;
    assert!(matches!(SqlStores::open(&url).await, Err(OpenError::Migration(_))));
    change(&url, "SELECT somebody_elses FROM accounts").await;

    let nobody = "postgres://canary:canary@127.0.0.1:1/canary".parse().expect("a URL");
    let Err(error) =
        SqlStores::open_with(&nobody, OpenOptions { postgres_connections: 1, ..OpenOptions::default() }).await
    else {
        panic!("nobody listens there");
    };
    assert!(matches!(error, OpenError::Unreachable(_)));
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    server.stop().await;
}
