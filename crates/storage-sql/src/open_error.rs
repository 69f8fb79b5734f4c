//! Why a database was not opened.

use std::path::PathBuf;

use crate::database_url::DatabaseUrlError;

/// A database that was not opened. Nothing in it was changed, and no other was made in its place.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database.
    #[error(transparent)]
    Url(#[from] DatabaseUrlError),
    /// The PostgreSQL URL cannot be read.
    #[error("the PostgreSQL URL cannot be read; write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    PostgresUrl,
    /// The folder or file cannot be made, read or locked.
    #[error("{path} cannot be used; check that the folder exists, is writable and belongs to this user")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file exists and is empty.
    #[error(
        "{path} is empty: a database was here and was cut off, or a copy failed; restore a backup, or delete the file \
         to begin anew"
    )]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The write-ahead log is there without its file.
    #[error("{log} is here without its database; put the database back beside it, or delete it to begin anew")]
    LogAlone {
        /// The log.
        log: PathBuf,
    },
    /// The file is no SQLite database, or a damaged one.
    #[error("{path} is not a readable SQLite database; restore a backup, or name another file")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The database is another program's.
    #[error("{what} holds another program's data; name an empty database or another file")]
    Foreign {
        /// Which database.
        what: String,
    },
    /// The schema was written by a newer release.
    #[error(
        "the database was brought to schema {found} by a newer bowerbird, and this one knows {known}; run the newer \
         release, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The newest step in the database.
        found: i64,
        /// The newest step in this program.
        known: i64,
    },
    /// The schema's history is not ours.
    #[error(
        "step {version} of the database's schema differs from this program's; restore a backup or use the release that made it"
    )]
    History {
        /// The step.
        version: i64,
    },
    /// A step of the schema failed; it was rolled back.
    #[error("the database's schema could not be brought up to date; nothing was lost, see the cause")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A commit would not be durable: a refresh token could be lost by a power failure.
    #[error("the database does not promise durable commits ({setting} is {found}); set it to {wanted}")]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The database cannot be reached, or refuses the connection.
    #[error("the database cannot be reached; check that it runs, its address and the password")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
