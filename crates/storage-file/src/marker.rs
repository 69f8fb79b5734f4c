//! The marker: which installation this folder last saw, and how far its database was. A database that is behind it was
//! restored from an older backup, and its refresh tokens may be spent.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::folder;

/// The name in the data folder.
const NAME: &str = "installation.json";

/// An installation at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The installation's id.
    pub cluster_id: String,
    /// The database's epoch, which only grows.
    pub epoch: i64,
}

/// What a database is to a folder that may have seen one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The folder saw none yet.
    New,
    /// The one that was seen, as far or farther.
    Known,
    /// The one that was seen, at an earlier time: an older backup, or a standby that missed commits.
    Restored {
        /// How far the database is.
        found: i64,
        /// How far it was.
        seen: i64,
    },
    /// Another installation's.
    Other {
        /// The id in the database.
        found: String,
        /// The id that the folder knows.
        seen: String,
    },
}

/// Compares what a folder last saw with the database that is there now.
pub fn standing(seen: Option<&Mark>, found: &Mark) -> Standing {
    match seen {
        None => Standing::New,
        Some(seen) if seen.cluster_id != found.cluster_id => {
            Standing::Other { found: found.cluster_id.clone(), seen: seen.cluster_id.clone() }
        }
        Some(seen) if found.epoch < seen.epoch => Standing::Restored { found: found.epoch, seen: seen.epoch },
        Some(_) => Standing::Known,
    }
}

/// A marker that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// The file cannot be read or written.
    #[error("{path} cannot be used; check that the folder is writable, has room, and belongs to this user")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file was changed by another hand.
    #[error("{path} cannot be read as a marker; restore it, or delete it if the database is known to be the newest")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The marker's file. Its methods block for a disk write at most.
#[derive(Clone, Debug)]
pub struct InstallationMarker {
    folder: PathBuf,
}

impl InstallationMarker {
    /// Names the marker of a data folder; touches nothing.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the file is, or would be.
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Reads it; None when there is none.
    pub fn read(&self) -> Result<Option<Mark>, MarkerError> {
        let path = self.path();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| MarkerError::Damaged { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MarkerError::File { path, source }),
        }
    }

    /// Writes it, whole or not at all, and durably. An epoch of the same installation never goes back.
    pub fn raise(&self, mark: &Mark) -> Result<(), MarkerError> {
        let newer = |seen: &Mark| seen.cluster_id == mark.cluster_id && seen.epoch >= mark.epoch;
        if self.read()?.as_ref().is_some_and(newer) {
            return Ok(());
        }
        self.replace(mark).map_err(|source| MarkerError::File { path: self.path(), source })
    }

    fn replace(&self, mark: &Mark) -> io::Result<()> {
        folder::make(&self.folder)?;
        // Processes that share the folder do not share this name.
        let unfinished: PathBuf = self.folder.join(format!("{NAME}.{}.new", std::process::id()));
        let written = write_file(&unfinished, mark).and_then(|()| std::fs::rename(&unfinished, self.path()));
        if written.is_err() {
            let _nothing_to_remove = std::fs::remove_file(&unfinished);
        }
        written?;
        folder::sync(&self.folder)
    }
}

fn write_file(path: &Path, mark: &Mark) -> io::Result<()> {
    let mut file = folder::for_owner().create(true).write(true).truncate(true).open(path)?;
    file.write_all(&serde_json::to_vec(mark)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(cluster_id: &str, epoch: i64) -> Mark {
        Mark { cluster_id: cluster_id.to_owned(), epoch }
    }

    #[test]
    fn a_database_behind_its_marker_was_restored() {
        let seen = mark("a", 7);
        assert_eq!(standing(None, &mark("a", 0)), Standing::New);
        assert_eq!(standing(Some(&seen), &mark("a", 7)), Standing::Known);
        assert_eq!(standing(Some(&seen), &mark("a", 8)), Standing::Known);
        assert_eq!(standing(Some(&seen), &mark("a", 6)), Standing::Restored { found: 6, seen: 7 });
        let other = Standing::Other { found: "b".to_owned(), seen: "a".to_owned() };
        assert_eq!(standing(Some(&seen), &mark("b", 9)), other);
    }

    #[test]
    fn it_is_raised_and_never_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let marker = InstallationMarker::in_folder(folder.path().join("data"));
        assert_eq!(marker.read().unwrap(), None);
        for (written, stands) in [(3, 3), (5, 5), (4, 5)] {
            marker.raise(&mark("a", written)).unwrap();
            assert_eq!(marker.read().unwrap(), Some(mark("a", stands)));
        }
        marker.raise(&mark("b", 1)).unwrap();
        assert_eq!(marker.read().unwrap(), Some(mark("b", 1)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(marker.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let names = std::fs::read_dir(folder.path().join("data")).unwrap().count();
        assert_eq!(names, 1, "nothing is left behind");

        std::fs::write(marker.path(), "{\"epoch\":").unwrap();
        assert!(matches!(marker.read(), Err(MarkerError::Damaged { .. })));
        assert!(matches!(marker.raise(&mark("a", 9)), Err(MarkerError::Damaged { .. })), "not overwritten unread");
    }
}
