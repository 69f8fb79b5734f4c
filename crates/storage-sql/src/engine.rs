//! Where reads and writes go: one face for both engines, so that every store is written once.

use bowerbird_core::ports::StoreError;
use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::failure::store_error;
use crate::postgres::PostgresEngine;
use crate::row::Row;
use crate::sqlite::SqliteEngine;
use crate::statement::Statement;

/// An open database.
#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// Whose clock decides about the leases of refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database server's: instances on several machines may have clocks that differ.
    Database,
    /// That of whoever asks. Right only where every instance has the same clock, as on one machine.
    Caller,
}

/// How soon a write matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits for it.
    Now,
    /// It may wait for others to share a commit with (noting that a session was used).
    WhenQuiet,
}

/// A connection inside a transaction (or, for single reads, outside).
#[derive(Debug)]
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection<'_> {
    /// Runs a statement to its end and gives every row. To the end, because SQLite may not have finished a write whose
    /// `RETURNING` rows were not all read.
    pub(crate) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        statement.check()?;
        match self {
            Self::Sqlite(connection) => {
                let (sql, arguments) = statement.sqlite().map_err(store_error)?;
                let rows = sqlx::query_with(sql, arguments).fetch_all(&mut **connection).await.map_err(store_error)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(connection) => {
                let (sql, arguments) = statement.postgres().map_err(store_error)?;
                let rows = sqlx::query_with(sql, arguments).fetch_all(&mut **connection).await.map_err(store_error)?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement that gives one row at most.
    pub(crate) async fn row(&mut self, statement: Statement) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Runs a statement and counts the rows that it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        statement.check()?;
        match self {
            Self::Sqlite(connection) => {
                let (sql, arguments) = statement.sqlite().map_err(store_error)?;
                let done = sqlx::query_with(sql, arguments).execute(&mut **connection).await.map_err(store_error)?;
                Ok(done.rows_affected())
            }
            Self::Postgres(connection) => {
                let (sql, arguments) = statement.postgres().map_err(store_error)?;
                let done = sqlx::query_with(sql, arguments).execute(&mut **connection).await.map_err(store_error)?;
                Ok(done.rows_affected())
            }
        }
    }
}

impl Engine {
    /// Whose clock decides here. A SQLite file is used by one machine, so its callers agree.
    pub(crate) fn lease_clock(&self) -> LeaseClock {
        match self {
            Self::Sqlite(_) => LeaseClock::Caller,
            Self::Postgres(engine) => engine.lease_clock(),
        }
    }

    /// Reads rows.
    pub(crate) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.rows(statement).await,
            Self::Postgres(engine) => {
                let mut connection = engine.connection().await?;
                Connection::Postgres(&mut connection).rows(statement).await
            }
        }
    }

    /// Reads one row at most.
    pub(crate) async fn row(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Runs a job in a transaction and answers once its commit is durable. An error of the job undoes the job.
    pub(crate) async fn write<T, F>(&self, urgency: Urgency, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.write(urgency, job).await,
            Self::Postgres(engine) => engine.write(job).await,
        }
    }

    /// Runs one writing statement and counts the rows that it changed.
    pub(crate) async fn execute(&self, statement: Statement) -> Result<u64, StoreError> {
        self.execute_with(Urgency::Now, statement).await
    }

    /// Like [`Self::execute`], with an urgency.
    pub(crate) async fn execute_with(&self, urgency: Urgency, statement: Statement) -> Result<u64, StoreError> {
        match self {
            // A single statement is its own transaction there, which saves two round trips.
            Self::Postgres(engine) => {
                let mut connection = engine.connection().await?;
                Connection::Postgres(&mut connection).execute(statement).await
            }
            Self::Sqlite(engine) => Ok(engine.write_one(urgency, statement).await?.changed),
        }
    }

    /// Runs one writing statement that gives one row at most.
    pub(crate) async fn returning(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Postgres(engine) => {
                let mut connection = engine.connection().await?;
                Connection::Postgres(&mut connection).row(statement).await
            }
            Self::Sqlite(engine) => Ok(engine.write_one(Urgency::Now, statement).await?.rows.into_iter().next()),
        }
    }
}
