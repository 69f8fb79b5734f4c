//! The file beside its folder, its lock and its companions.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::open_error::OpenError;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File,
}

/// Looks at the path without touching it. An empty file, or a log without its file, is what is left of a database, and
/// never a place for a new one.
pub(super) fn look(path: &Path) -> Result<Found, OpenError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() == 0 => Err(OpenError::EmptyFile { path: path.to_owned() }),
        Ok(found) if found.is_file() => Ok(Found::File),
        Ok(_) => Err(failed(path, io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let log = beside(path, "-wal");
            let left = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
            if left { Err(OpenError::LogAlone { log }) } else { Ok(Found::Nothing) }
        }
        Err(error) => Err(failed(path, error)),
    }
}

/// Makes the folder, for its owner alone, where there is none. One that exists keeps its mode: it may be shared.
pub(crate) fn make_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).map_err(|error| failed(&folder, error))
}

/// Waits for the lock that orders making and migrating among processes; it is held until dropped. The lock file stays:
/// removing it would let two processes lock two files of one name.
pub(super) async fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, ".lock");
    let opened = for_owner().create(true).truncate(false).write(true).open(&name);
    let file = opened.map_err(|error| failed(&name, error))?;
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    let locked = waiting.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    locked.map_err(|error| failed(&name, error))
}

/// Where a new database is built before it gets its name: a start that is cut off leaves no half-made one.
pub(super) fn begin_new(path: &Path) -> Result<PathBuf, OpenError> {
    let unfinished = beside(path, ".new");
    for ending in ["", "-journal", "-wal", "-shm"] {
        let leftover = beside(&unfinished, ending);
        match std::fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&leftover, error)),
            _ => {}
        }
    }
    let made = for_owner().create_new(true).write(true).open(&unfinished);
    made.map_err(|error| failed(&unfinished, error))?;
    Ok(unfinished)
}

/// Gives a finished database its name, durably.
pub(super) fn finish_new(unfinished: &Path, path: &Path) -> Result<(), OpenError> {
    let publish = || {
        File::open(unfinished)?.sync_all()?;
        std::fs::rename(unfinished, path)?;
        File::open(folder_of(path))?.sync_all()
    };
    publish().map_err(|error| failed(path, error))
}

/// Takes the file and its companions from everyone but the owner. SQLite gives new companions the file's mode.
pub(super) fn restrict(path: &Path) {
    #[cfg(unix)]
    for ending in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt as _;
        let name = beside(path, ending);
        let Ok(found) = std::fs::metadata(&name) else { continue };
        if found.permissions().mode() & 0o777 == found.permissions().mode() & 0o700 {
            continue;
        }
        match std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!(file = %name.display(), "others could read the database; its mode is 0600 now"),
            Err(error) => {
                tracing::warn!(file = %name.display(), %error, "others can read the database; set its mode to 0600");
            }
        }
    }
}

pub(super) fn failed(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: path.to_owned(), source }
}

/// The path with something after its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Options for a file of mode 0600.
pub(crate) fn for_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
