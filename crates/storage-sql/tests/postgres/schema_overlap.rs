//! Two releases of the program on one PostgreSQL schema, as in a rolling deployment (fault 25).

use std::path::Path;

use bowerbird_core::ports::Stores;
use bowerbird_storage_sql::{OpenError, SqlStores};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::schema;
use crate::server::Server;
use crate::support::{change, open_by_callers_clock};

/// Bytes as PostgreSQL writes them.
fn in_its_words(statement: &str) -> String {
    let mut parts = statement.split("x'");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}'\\x{part}"))
}

async fn of_the_first_release(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let migrator = schema::first_release(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres"))).await;
    migrator.run_direct(None, &mut connection, false).await.expect("migrates");
    connection.close().await.expect("closes");
    for statement in schema::rows() {
        change(url, in_its_words(&statement)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_work_on_one_schema() {
    let Some(server) = Server::start().await else { return };
    let url = server.new_schema().await;
    of_the_first_release(&url).await;
    let database = open_by_callers_clock(&url).await;
    schema::everything_is_there_and_goes_on(&database.stores()).await;
    database.close().await;

    let url = server.new_schema().await;
    of_the_first_release(&url).await;
    let database = open_by_callers_clock(&url).await;
    for statement in schema::statements() {
        change(&url, in_its_words(&statement)).await;
    }
    schema::what_the_first_release_wrote_is_read(&database.stores()).await;
    database.close().await;

    let url = server.new_schema().await;
    of_the_first_release(&url).await;
    let database = open_by_callers_clock(&url).await;
    schema::keys_are_given_up(&database).await;
    database.close().await;

    let make = async || -> Stores {
        let url = server.new_schema().await;
        SqlStores::open(&url).await.expect("opens").close().await;
        for statement in schema::NEXT_STEP {
            change(&url, statement).await;
        }
        open_by_callers_clock(&url).await.stores()
    };
    bowerbird_testkit::conformance::run_all(make).await;

    let url = server.new_schema().await;
    SqlStores::open(&url).await.expect("opens").close().await;
    for statement in schema::NEXT_STEP {
        change(&url, statement).await;
    }
    change(&url, schema::RAISED_FLOOR).await;
    let refused = SqlStores::open(&url).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 99_990_101_000_000, .. })), "{refused:?}");
    server.stop().await;
}
