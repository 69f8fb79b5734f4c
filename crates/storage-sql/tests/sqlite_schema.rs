//! Two releases of the program on one SQLite file, as while one takes the other's place (fault 25).
#![expect(clippy::expect_used, reason = "tests")]

mod schema;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use bowerbird_core::ports::Stores;
use bowerbird_storage_sql::{OpenError, SqlStores};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.expect("connects")
}

async fn run(path: &Path, statements: impl Iterator<Item = String>) {
    let mut connection = connect(path).await;
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut connection).await.expect(&statement);
    }
    connection.close().await.expect("closes");
}

async fn open(path: &Path) -> Result<SqlStores, OpenError> {
    SqlStores::open(&format!("sqlite:{}", path.display())).await
}

/// The database of the first release, with rows.
async fn of_the_first_release(path: &Path) {
    let mut connection = connect(path).await;
    let migrator = schema::first_release(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite"))).await;
    migrator.run_direct(None, &mut connection, false).await.expect("migrates");
    connection.close().await.expect("closes");
    run(path, schema::rows()).await;
}

#[tokio::test]
async fn the_database_of_the_release_before_is_brought_up_to_date_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sqlite");
    of_the_first_release(&path).await;
    let database = open(&path).await.expect("opens");
    database.check().await.expect("sound");
    schema::everything_is_there_and_goes_on(&database.stores()).await;
    database.close().await;
}

#[tokio::test]
async fn what_hangs_from_a_lost_key_is_given_up_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sqlite");
    of_the_first_release(&path).await;
    let database = open(&path).await.expect("opens");
    schema::keys_are_given_up(&database).await;
    database.close().await;
}

#[tokio::test]
async fn the_release_before_works_beside_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.sqlite");
    of_the_first_release(&path).await;
    let database = open(&path).await.expect("opens");
    run(&path, schema::statements()).await;
    schema::what_the_first_release_wrote_is_read(&database.stores()).await;
    database.close().await;
}

#[tokio::test]
async fn this_release_works_on_the_schema_of_the_next_one_as_that_allows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let number = AtomicU32::new(0);
    let make = async || -> Stores {
        let path = folder.path().join(format!("{}.sqlite", number.fetch_add(1, Ordering::Relaxed)));
        open(&path).await.expect("opens").close().await;
        run(&path, schema::NEXT_STEP.into_iter().map(str::to_owned)).await;
        open(&path).await.expect("opens on the newer schema").stores()
    };
    bowerbird_testkit::conformance::run_all(make).await;

    let path = folder.path().join("0.sqlite");
    run(&path, [schema::RAISED_FLOOR.to_owned()].into_iter()).await;
    let Err(error) = open(&path).await else { panic!("the next release cannot be lived with") };
    assert!(matches!(error, OpenError::Newer { found: 99_990_101_000_000, .. }), "{error:?}");
}
