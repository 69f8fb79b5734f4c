//! From a path to a connection that is ours, complete and durable.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::file::{self, Found};
use crate::failure::is_damage;
use crate::migrations::{Progress, migrate_sqlite, sqlite_progress};
use crate::open_error::OpenError;

/// "Bwrb", the number that the first migration writes into the file's header.
const APPLICATION_ID: i64 = 0x4277_7262;
/// `PRAGMA synchronous` as a number: FULL syncs the log at every commit, EXTRA also the folder.
const SYNCHRONOUS_FULL: i64 = 2;
/// Another process may hold the write lock for so long before "not available".
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the file and brings it up to date; makes it where there is nothing at all.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, OpenError> {
    if file::look(path)? == Found::Nothing {
        file::make_folder(path)?;
        let lock = file::lock(path).await?;
        // Another process may have made it while this one waited.
        if file::look(path)? == Found::Nothing {
            make(path).await?;
        }
        drop(lock);
    }
    file::restrict(path);
    look_for_damage(path).await?;
    let mut connection = connect(path, &writer_options(path)).await?;
    check_ours(path, &mut connection).await?;
    if progress(path, &mut connection).await? == Progress::Pending {
        let lock = file::lock(path).await?;
        migrate_sqlite(&mut connection).await?;
        drop(lock);
    }
    keep_log(path, &mut connection).await?;
    check_durable(path, &mut connection).await?;
    Ok(connection)
}

/// Looks without being able to write: a writer that closes moves the log into the file, also into a damaged one.
async fn look_for_damage(path: &Path) -> Result<(), OpenError> {
    let found = match connect(path, &reader_options(path)).await {
        Ok(mut connection) => {
            let found = match check_ours(path, &mut connection).await {
                Ok(()) => progress(path, &mut connection).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let _closed_or_not = connection.close().await;
            found
        }
        Err(error) => Err(error),
    };
    match found {
        Err(damaged @ OpenError::Damaged { .. }) => Err(damaged),
        // Whatever else there is, the writer meets it too.
        _ => Ok(()),
    }
}

/// How the one writer connects. The journal mode is no option here: setting it would change a file that may be another
/// program's, so [`keep_log`] does it once the file is known to be ours.
pub(super) fn writer_options(path: &Path) -> SqliteConnectOptions {
    common_options(path)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        // After a burst of writes the log gives its room back.
        .pragma("journal_size_limit", "4194304")
}

/// How a reader connects.
pub(super) fn reader_options(path: &Path) -> SqliteConnectOptions {
    common_options(path).read_only(true)
}

fn common_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(64)
        .thread_name(|id| format!("sqlite-{id}"))
        // KiB per connection; the whole server has a budget of 25 MB.
        .pragma("cache_size", "-1024")
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Builds a database under another name, then gives it its own. Until then a crash costs nothing, so it needs no syncs.
async fn make(path: &Path) -> Result<(), OpenError> {
    let unfinished = file::begin_new(path)?;
    let mut connection = connect(path, &writer_options(&unfinished).synchronous(SqliteSynchronous::Off)).await?;
    migrate_sqlite(&mut connection).await?;
    keep_log(path, &mut connection).await?;
    connection.close().await.map_err(|error| unusable(path, error))?;
    file::finish_new(&unfinished, path)
}

async fn connect(path: &Path, options: &SqliteConnectOptions) -> Result<SqliteConnection, OpenError> {
    options.connect().await.map_err(|error| unusable(path, error))
}

async fn check_ours(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(connection)
        .await
        .map_err(|error| unusable(path, error))?;
    if id == APPLICATION_ID { Ok(()) } else { Err(OpenError::Foreign { what: path.display().to_string() }) }
}

async fn progress(path: &Path, connection: &mut SqliteConnection) -> Result<Progress, OpenError> {
    sqlite_progress(connection).await.map_err(|error| match error {
        OpenError::Migration(source) => match source.downcast::<sqlx::migrate::MigrateError>() {
            Ok(cause) => match *cause {
                sqlx::migrate::MigrateError::Execute(error) => unusable(path, error),
                cause => OpenError::Migration(cause.into()),
            },
            Err(source) => OpenError::Migration(source),
        },
        error => error,
    })
}

/// Sets the write-ahead log; a restored copy (`VACUUM INTO`) comes without.
async fn keep_log(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| unusable(path, error))?;
    if mode == "wal" {
        return Ok(());
    }
    let set: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
        .fetch_one(connection)
        .await
        .map_err(|error| unusable(path, error))?;
    if set == "wal" {
        Ok(())
    } else {
        Err(OpenError::NotDurable { setting: "journal_mode", found: set, wanted: "wal (use a local disk)" })
    }
}

/// A commit that is answered must survive a power failure (REFRESH, guards).
pub(super) async fn check_durable(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let level: i64 =
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await.map_err(|error| unusable(path, error))?;
    if level >= SYNCHRONOUS_FULL {
        Ok(())
    } else {
        Err(OpenError::NotDurable { setting: "synchronous", found: level.to_string(), wanted: "2 (FULL)" })
    }
}

/// Says whether the file itself is at fault.
fn unusable(path: &Path, error: sqlx::Error) -> OpenError {
    if is_damage(&error) {
        return OpenError::Damaged { path: path.to_owned(), source: Some(error.into()) };
    }
    OpenError::Unreachable(error.into())
}
