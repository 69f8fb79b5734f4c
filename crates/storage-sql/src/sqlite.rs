//! SQLite: one file, one writer, a few readers.

mod file;
mod health;
mod open;
mod readers;
mod statements;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use futures_util::future::BoxFuture;
use sqlx::{ConnectOptions as _, Connection as _};

pub(crate) use self::file::{beside, folder_of, for_owner, make_folder};
use self::health::Health;
use self::readers::Readers;
pub(crate) use self::statements::Done;
use self::writer::Writer;
use crate::engine::{Connection, Urgency};
use crate::failure::{store_error, unavailable};
use crate::open_error::OpenError;
use crate::row::Row;
use crate::statement::Statement;

/// An open SQLite file.
#[derive(Debug)]
pub(crate) struct SqliteEngine {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    health: Arc<Health>,
}

impl SqliteEngine {
    /// Opens the file, or makes it where there is none.
    pub(crate) async fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = open::open(path).await?;
        let health = Arc::new(Health::default());
        let writer = Writer::start(open::writer_options(path), connection, health.clone());
        let readers = Readers::new(open::reader_options(path));
        Ok(Self { path: path.to_owned(), writer, readers, health })
    }

    /// Reads rows, beside the writer. Damage is most often met here.
    pub(crate) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        self.health.note(self.readers.rows(statement).await)
    }

    /// Queues a job for the writer and waits for the commit that holds it.
    pub(crate) async fn write<T, F>(&self, urgency: Urgency, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.health.check()?;
        self.health.note(self.writer.write(urgency, job).await)
    }

    /// The same for one statement, which undoes itself when it fails, and shares its trip to the file with others.
    pub(crate) async fn write_one(&self, urgency: Urgency, statement: Statement) -> Result<Done, StoreError> {
        statement.check()?;
        self.health.check()?;
        self.health.note(self.writer.write_one(urgency, statement).await)
    }

    /// Writes a consistent copy into an empty file, on a connection of its own, so that readers are not kept waiting.
    pub(crate) async fn copy_into(&self, path: String) -> Result<(), StoreError> {
        let mut connection = open::reader_options(&self.path).connect().await.map_err(store_error)?;
        let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await.map_err(store_error);
        connection.close().await.map_err(store_error)?;
        self.health.note(copied.map(|_| ()))
    }

    /// Whether a write could be made now: the file is where it was, and its write lock can be had.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        if !self.path.exists() {
            return Err(unavailable("the database file is gone; restore it, or stop and start anew"));
        }
        self.write(Urgency::Now, |_| Box::pin(async { Ok(()) })).await
    }

    /// Ends when the file is found damaged.
    pub(crate) async fn until_damaged(&self) {
        self.health.until_damaged().await;
    }

    /// Moves the write-ahead log into the file.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        self.writer.checkpoint().await
    }

    /// Finishes what is queued and closes; the last one to close moves the log into the file.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
