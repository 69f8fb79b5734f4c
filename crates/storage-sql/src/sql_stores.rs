//! The open database, as the composition holds it.

use std::sync::Arc;

use bowerbird_core::ports::{DeviceChangeLog, StoreError, Stores};

use crate::database_url::DatabaseUrl;
use crate::engine::{Engine, LeaseClock};
use crate::open_error::OpenError;
use crate::postgres::{PostgresEngine, PostgresFeed};
use crate::sqlite::SqliteEngine;
use crate::statement::Statement;

/// What may be chosen about a database.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Connections to PostgreSQL at most. SQLite has one writer and a few readers, always.
    pub postgres_connections: u32,
    /// Whose clock decides about leases in PostgreSQL. Anything but [`LeaseClock::Database`] is for tests that bring
    /// times of their own.
    pub lease_clock: LeaseClock,
}

impl Default for OpenOptions {
    /// Eight connections, and the database's clock.
    fn default() -> Self {
        Self { postgres_connections: 8, lease_clock: LeaseClock::Database }
    }
}

/// An open database: cheap to clone, closed by [`Self::close`] or when the last clone goes.
#[derive(Clone, Debug)]
pub struct SqlStores {
    engine: Arc<Engine>,
}

/// A database that did not pass [`SqlStores::check`].
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its file is damaged; restore a backup.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A row refers to another that is gone.
    #[error("a row of {0} refers to a row that is gone")]
    Dangling(String),
}

impl SqlStores {
    /// Opens the database of a URL (see [`DatabaseUrl`]), making a SQLite file where there is none, and brings its
    /// schema up to date. Must be called inside a tokio runtime.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(&url.parse()?, OpenOptions::default()).await
    }

    /// Like [`Self::open`], with choices.
    pub async fn open_with(url: &DatabaseUrl, options: OpenOptions) -> Result<Self, OpenError> {
        let engine = match url {
            DatabaseUrl::Sqlite(path) => Engine::Sqlite(SqliteEngine::open(path).await?),
            DatabaseUrl::Postgres(url) => Engine::Postgres(PostgresEngine::open(url, options).await?),
        };
        Ok(Self { engine: Arc::new(engine) })
    }

    /// Gives every store.
    pub fn stores(&self) -> Stores {
        Stores {
            accounts: self.engine.clone(),
            connections: self.engine.clone(),
            credentials: self.engine.clone(),
            data_keys: self.engine.clone(),
            authorization_requests: self.engine.clone(),
            device_sessions: self.engine.clone(),
            handoffs: self.engine.clone(),
            renewals: self.engine.clone(),
            alerts: self.engine.clone(),
            security_events: self.engine.clone(),
            older_contract: self.engine.clone(),
        }
    }

    /// What every other file of this crate works on.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// News between the instances of an installation through the database; None for SQLite, whose processes look again
    /// within a second. Must be called inside a tokio runtime.
    pub fn change_feed(&self, cluster_id: &str) -> Option<PostgresFeed> {
        match &*self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(engine) => Some(PostgresFeed::start(engine.pool().clone(), cluster_id)),
        }
    }

    /// The log of changed device sessions; None for SQLite, which one instance uses.
    pub fn device_log(&self) -> Option<Arc<dyn DeviceChangeLog>> {
        match &*self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(_) => Some(self.engine.clone()),
        }
    }

    /// Whether the database could take a write now. Cheap; for `/ready`.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.ready().await,
            Engine::Postgres(engine) => engine.ready().await,
        }
    }

    /// Ends when the file of a SQLite database is found damaged while it is in use: from then on it is only read. With
    /// PostgreSQL it never ends; that server watches over its files itself.
    pub async fn until_damaged(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.until_damaged().await,
            Engine::Postgres(_) => std::future::pending().await,
        }
    }

    /// Reads the whole database and checks that it is sound. Slow on a large one; for `bowerbird doctor`.
    pub async fn check(&self) -> Result<(), CheckError> {
        self.ready().await?;
        if matches!(&*self.engine, Engine::Postgres(_)) {
            // PostgreSQL checks its references itself, and its files with its own tools.
            return Ok(());
        }
        for row in self.engine.rows(Statement::new("PRAGMA quick_check(1)")).await? {
            let verdict = row.of("quick_check").text("quick_check")?;
            if verdict != "ok" {
                return Err(CheckError::Damaged(verdict));
            }
        }
        match self.engine.row(Statement::new("PRAGMA foreign_key_check")).await? {
            Some(row) => Err(CheckError::Dangling(row.of("foreign_key_check").text("table")?)),
            None => Ok(()),
        }
    }

    /// Moves SQLite's write-ahead log into the file, such as before a copy of the file. Nothing to do for PostgreSQL.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.checkpoint().await,
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Finishes the writes that are queued and closes; every store then answers "not available".
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }
}
