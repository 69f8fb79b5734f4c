//! Files for their owner alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// More rings than processes that ever work on one folder at once.
const MOST_RINGS: usize = 64;

/// Makes the folder where there is none.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Options for a file of mode 0600.
pub(crate) fn for_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _no_such_thing = folder;
    Ok(())
}

fn ring_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("spill-{number}.ring"))
}

/// Opens and locks the first ring that no living process holds, making it where there is none. The lock is the system's:
/// it ends with its holder, however that ends.
pub(crate) fn claim_ring(folder: &Path) -> io::Result<(usize, File)> {
    for number in 0..MOST_RINGS {
        let path = ring_path(folder, number);
        let file = for_owner().read(true).write(true).create(true).truncate(false).open(path)?;
        if lock(&file)? {
            return Ok((number, file));
        }
    }
    Err(io::Error::other("too many processes use this folder"))
}

/// Opens and locks the rings whose processes are gone, but for those that are held already.
pub(crate) fn claim_orphans(folder: &Path, held: &[usize]) -> io::Result<Vec<(usize, File)>> {
    let mut orphans = Vec::new();
    for number in (0..MOST_RINGS).filter(|number| !held.contains(number)) {
        match for_owner().read(true).write(true).open(ring_path(folder, number)) {
            Ok(file) if lock(&file)? => orphans.push((number, file)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(orphans)
}

/// Opens each ring in a folder to be read, whoever holds it; but for some. The system's lock keeps nobody from that.
pub(crate) fn rings_to_read<'a>(folder: &'a Path, but_for: &'a [usize]) -> impl Iterator<Item = io::Result<File>> + 'a {
    let numbers = (0..MOST_RINGS).filter(|number| !but_for.contains(number));
    numbers.filter_map(|number| match File::open(ring_path(folder, number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened),
    })
}

/// Removes the rings that no living process holds; gives how many.
pub(crate) fn remove_rings(folder: &Path) -> io::Result<usize> {
    let rings = claim_orphans(folder, &[])?;
    for (number, _locked) in &rings {
        std::fs::remove_file(ring_path(folder, *number))?;
    }
    sync(folder)?;
    Ok(rings.len())
}

/// Whether a file still has its name: what is written to one without is lost with its last holder.
#[cfg(unix)]
pub(crate) fn has_a_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.nlink() > 0)
}

/// An open file keeps its name on this system.
#[cfg(not(unix))]
pub(crate) fn has_a_name(_file: &File) -> io::Result<bool> {
    Ok(true)
}

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
