//! The readers: a few connections beside the writer, each opened when it is first needed.
//!
//! sqlx's own pool hands a connection back on a task of its own that first asks whether it still answers: a second trip
//! to the connection's thread for every read, which costs as much as the read. Here a read is one trip.

use std::time::Duration;

use bowerbird_core::ports::StoreError;
use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::engine::Connection;
use crate::failure::{store_error, unavailable};
use crate::row::Row;
use crate::statement::Statement;

/// Each is a thread and a page cache.
const READERS: u32 = 3;
/// How long a read waits for one that is free.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs reads side by side.
#[derive(Debug)]
pub(super) struct Readers {
    options: Box<SqliteConnectOptions>,
    free: Semaphore,
    /// The one used last is taken first: its cache is warm, and the others need not even be open.
    pub(super) idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    /// Opens nothing yet.
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options: Box::new(options), free: Semaphore::new(READERS as usize), idle: Mutex::new(Vec::new()) }
    }

    /// Reads rows. A connection whose read failed, or whose caller left in the middle, is not used again.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        statement.check()?;
        let _free = self.free().await?;
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(store_error)?,
        };
        let rows = Connection::Sqlite(&mut connection).rows(statement).await?;
        // Before its turn ends, so that whoever is next finds it.
        self.idle.lock().push(connection);
        Ok(rows)
    }

    async fn free(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        if let Ok(free) = self.free.try_acquire() {
            return Ok(free);
        }
        tokio::time::timeout(PATIENCE, self.free.acquire())
            .await
            .map_err(|_| unavailable("every reader of the database is busy; try again"))?
            .map_err(|_| unavailable("the database is closed"))
    }

    /// Waits for what is being read, then closes them all. Done already is fine.
    pub(super) async fn close(&self) {
        let _every_one = self.free.acquire_many(READERS).await;
        self.free.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "a reader of the database was not closed cleanly");
            }
        }
    }
}
