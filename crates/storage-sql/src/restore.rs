//! A backup put in the place of the database, while nobody uses it.
//!
//! The backup is copied beside the database first and examined there, so that the operator's file is never written to and
//! what is put in place is what was examined. The replaced database stays, under another name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::database_url::DatabaseUrl;
use crate::open_error::OpenError;
use crate::sql_stores::{CheckError, OpenOptions, SqlStores};
use crate::sqlite::{beside, folder_of, for_owner, make_folder};

/// A backup that was not put in place. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup, or the copy of it, cannot be read or written.
    #[error("{path} cannot be used; check that it exists, and that the database's folder has room")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A log lies beside the backup: it is a database that was copied while in use, and not whole.
    #[error("{log} lies beside the backup, so that it may not be whole; use a file that `bowerbird backup` made")]
    Log {
        /// The log.
        log: PathBuf,
    },
    /// The backup is no database of ours, or a newer release's.
    #[error("the backup is not usable")]
    Open(#[source] OpenError),
    /// The backup is damaged.
    #[error("the backup is damaged")]
    Damaged(#[source] CheckError),
    /// A server, or another command, has the database open.
    #[error("{} is in use; stop the server first", .0.display())]
    InUse(PathBuf),
}

/// A copy of a backup beside the database: whole, ours, up to date. Removed when it is dropped without being put in place.
#[derive(Debug)]
pub struct ExaminedBackup {
    database: SqlStores,
    copy: PathBuf,
    path: PathBuf,
}

impl ExaminedBackup {
    /// Copies a backup to beside the database at `path` and looks through the whole of it.
    pub async fn of(backup: &Path, path: &Path) -> Result<Self, RestoreError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| RestoreError::File { path, source }
        };
        let log = beside(backup, "-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(RestoreError::Log { log });
        }
        let mut from = File::open(backup).map_err(file(backup))?;
        make_folder(path).map_err(RestoreError::Open)?;
        let copy = beside(path, ".restoring");
        remove_all(&copy).map_err(file(&copy))?;
        let mut copied = || -> io::Result<()> {
            let mut to = for_owner().create_new(true).write(true).open(&copy)?;
            io::copy(&mut from, &mut to)?;
            to.sync_all()
        };
        let opened = match copied().map_err(file(&copy)) {
            Ok(()) => {
                let url = DatabaseUrl::Sqlite(copy.clone());
                SqlStores::open_with(&url, OpenOptions::default()).await.map_err(RestoreError::Open)
            }
            Err(error) => Err(error),
        };
        let database = opened.inspect_err(|_| drop(remove_all(&copy)))?;
        let examined = Self { database, copy, path: path.to_owned() };
        examined.database.check().await.map_err(RestoreError::Damaged)?;
        Ok(examined)
    }

    /// The copy, to be asked and marked.
    pub fn database(&self) -> &SqlStores {
        &self.database
    }

    /// Puts the copy in the place of the database, which gets the name `kept` with its log, if there is one. The copy
    /// takes the place in one step: a crash leaves the one database there or the other.
    pub async fn put_in_place(self, kept: &Path) -> Result<(), RestoreError> {
        self.database.close().await;
        refuse_if_in_use(&self.path).await?;
        let moved = || -> io::Result<()> {
            File::open(&self.copy)?.sync_all()?;
            if self.path.exists() {
                fs::hard_link(&self.path, kept)?;
            }
            // What is left in a log belongs to the replaced file alone.
            for ending in ["-wal", "-shm"] {
                match fs::rename(beside(&self.path, ending), beside(kept, ending)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.copy, &self.path)?;
            File::open(folder_of(&self.path))?.sync_all()
        };
        moved().map_err(|source| RestoreError::File { path: self.path.clone(), source })
    }
}

impl Drop for ExaminedBackup {
    fn drop(&mut self) {
        let _gone_or_in_place = remove_all(&self.copy);
    }
}

/// Whether somebody has the database open: everybody who does holds a lock that forbids the exclusive one. Moves its log
/// into it where it can. A file that cannot be opened at all is nobody's.
async fn refuse_if_in_use(path: &Path) -> Result<(), RestoreError> {
    if !path.exists() {
        return Ok(());
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(500))
        .locking_mode(SqliteLockingMode::Exclusive)
        .disable_statement_logging();
    let try_it = async {
        let mut connection = options.connect().await?;
        let tried = sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await;
        if tried.is_ok() {
            sqlx::query("COMMIT").execute(&mut connection).await?;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        }
        connection.close().await?;
        tried
    };
    match try_it.await {
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| is_busy(&code)) => {
            Err(RestoreError::InUse(path.to_owned()))
        }
        // What is damaged beyond that is replaced for this very reason.
        _ => Ok(()),
    }
}

/// `SQLITE_BUSY`; extended codes keep the primary one in their low byte.
fn is_busy(code: &str) -> bool {
    code.parse::<i64>().is_ok_and(|code| code & 0xff == 5)
}

fn remove_all(path: &Path) -> io::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal", ".lock"] {
        match fs::remove_file(beside(path, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
