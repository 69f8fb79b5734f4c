//! PostgreSQL: the pool and its checks.

mod device_log;
mod feed;

use std::str::FromStr;
use std::time::Duration;

use bowerbird_core::Secret;
use bowerbird_core::ports::StoreError;
use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::engine::{Connection, LeaseClock};
use crate::failure::{store_error, unavailable};
use crate::migrations::migrate_postgres;
use crate::open_error::OpenError;
use crate::sql_stores::OpenOptions;

pub use self::feed::PostgresFeed;

/// How long a caller waits for a connection, or the server for a statement, before the answer is "not available".
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for one statement and for a lock, enforced by the server, so that a lost caller blocks nobody.
const TIMEOUTS: [(&str, &str); 3] =
    [("statement_timeout", "15s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")];

/// An open PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresEngine {
    pool: PgPool,
    lease_clock: LeaseClock,
}

impl PostgresEngine {
    /// Connects, brings the schema up to date, and checks that a commit is durable.
    pub(crate) async fn open(url: &Secret, choices: OpenOptions) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url.expose())
            // The cause is dropped: it may quote the URL, which may hold a password.
            .map_err(|_| OpenError::PostgresUrl)?
            .application_name("bowerbird")
            .disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await.map_err(unreachable_database)?;
        check_durable(&mut connection).await?;
        migrate_postgres(&mut connection).await?;
        connection.close().await.map_err(unreachable_database)?;

        // Only the pool gets the timeouts: a migration, and waiting for another instance's, may take longer.
        let pool = PgPoolOptions::new()
            .max_connections(choices.postgres_connections)
            .min_connections(0)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(true)
            .connect_lazy_with(options.options(TIMEOUTS));
        Ok(Self { pool, lease_clock: choices.lease_clock })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn lease_clock(&self) -> LeaseClock {
        self.lease_clock
    }

    pub(crate) async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool.acquire().await.map_err(store_error)
    }

    /// Runs a job in a transaction.
    pub(crate) async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    {
        let mut transaction = self.pool.begin().await.map_err(store_error)?;
        let outcome = job(Connection::Postgres(&mut transaction)).await;
        match outcome {
            Ok(value) => transaction.commit().await.map_err(store_error).map(|()| value),
            Err(error) => {
                if let Err(rollback) = transaction.rollback().await {
                    // The server undoes it when the connection ends.
                    tracing::debug!(error = %rollback, "a rollback was not confirmed");
                }
                Err(error)
            }
        }
    }

    /// Whether a write could be made now.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let read_only: String = sqlx::query_scalar("SELECT current_setting('transaction_read_only')")
            .fetch_one(&mut *connection)
            .await
            .map_err(store_error)?;
        if read_only == "on" { Err(unavailable("the PostgreSQL server is a read-only standby")) } else { Ok(()) }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A commit that is answered must survive a crash of the server (REFRESH, guards).
async fn check_durable(connection: &mut PgConnection) -> Result<(), OpenError> {
    let commit = setting(connection, "synchronous_commit").await?;
    if !matches!(commit.as_str(), "on" | "remote_apply") {
        return Err(OpenError::NotDurable { setting: "synchronous_commit", found: commit, wanted: "on" });
    }
    if setting(connection, "fsync").await? == "off" {
        tracing::warn!("the PostgreSQL server runs with fsync=off: a power failure may lose every sign-in");
    }
    Ok(())
}

async fn setting(connection: &mut PgConnection, name: &'static str) -> Result<String, OpenError> {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .map_err(unreachable_database)
}

fn unreachable_database(error: sqlx::Error) -> OpenError {
    OpenError::Unreachable(error.into())
}
