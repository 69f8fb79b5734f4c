//! A copy of the database while it is in use.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bowerbird_core::ports::StoreError;

use crate::engine::Engine;
use crate::sql_stores::SqlStores;
use crate::sqlite::for_owner;

/// A backup that was not made; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has tools of its own for it.
    #[error("a PostgreSQL database is backed up with its own tools: pg_dump, or continuous archiving")]
    Postgres,
    /// Something is there already; an older backup is not overwritten.
    #[error("{0} exists already; name another file")]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{path} cannot be written; check that the folder exists and has room")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The database could not be read, or not be written out.
    #[error("the database could not be copied")]
    Store(#[from] StoreError),
}

impl SqlStores {
    /// Writes a whole and consistent copy of a SQLite database into a new file, for its owner alone, while others go on
    /// reading and writing. What was committed before the call is in it. The file gets its name when it is complete and
    /// on the disk.
    pub async fn backup_to(&self, path: &Path) -> Result<(), BackupError> {
        let Engine::Sqlite(engine) = self.engine() else { return Err(BackupError::Postgres) };
        let failed = |source| BackupError::File { path: path.to_owned(), source };
        if path.try_exists().map_err(failed)? {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let Some(text) = partial.to_str() else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8")));
        };
        // SQLite fills an empty file and keeps its mode. One that is there is another's backup under way, or what a
        // crash left.
        let made = for_owner().create_new(true).write(true).open(&partial);
        drop(made.map_err(|source| BackupError::File { path: partial.clone(), source })?);
        let copied = match engine.copy_into(text.to_owned()).await {
            Ok(()) => publish(&partial, path).map_err(failed),
            Err(error) => Err(error.into()),
        };
        if copied.is_err() {
            let _nothing_else_to_do = std::fs::remove_file(&partial);
        }
        copied
    }
}

fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
