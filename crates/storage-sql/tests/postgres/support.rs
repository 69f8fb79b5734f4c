//! What the tests on PostgreSQL share.

use bowerbird_storage_sql::{LeaseClock, OpenOptions, SqlStores};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// Opens a database that believes the times it is given, as the contract's tests need it.
pub(crate) async fn open_by_callers_clock(url: &str) -> SqlStores {
    let choices = OpenOptions { lease_clock: LeaseClock::Caller, ..OpenOptions::default() };
    SqlStores::open_with(&url.parse().expect("a URL"), choices).await.expect("opens")
}

/// Runs SQL beside the program.
pub(crate) async fn change(url: &str, sql: impl Into<String>) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    sqlx::query(AssertSqlSafe(sql.into())).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}
