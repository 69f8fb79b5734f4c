//! One ring file: a first block that says what it is, then entries, each in blocks of its own. What is settled stays
//! until it is overwritten, the oldest first; what is not is never overwritten.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use bowerbird_core::ports::{HighMark, SpillEntry};
use bowerbird_core::{ConnectionId, Generation};

use crate::entry;
use crate::folder;
use crate::frame::{self, BLOCK, Found, Frame, LONGEST, SETTLED_AT, blocks_for, frame, settled_mark};

/// The beginning of the first block.
const FIRST_BLOCK: &[u8] = b"Bowerbird spill, version 1\n";

/// What stands in a ring's blocks, the first but for: each frame with the block where it begins.
pub(crate) fn frames(image: &[u8]) -> impl Iterator<Item = (usize, Found<'_>)> {
    let mut next = 1;
    std::iter::from_fn(move || {
        loop {
            let block = next;
            let rest = image.get(block * BLOCK..).filter(|rest| !rest.is_empty())?;
            let found = frame::read(rest);
            next += match found {
                Found::Whole(Frame { payload, .. }) => blocks_for(payload.len()).unwrap_or(1),
                Found::Nothing | Found::Broken => 1,
            };
            if found != Found::Nothing {
                return Some((block, found));
            }
        }
    })
}

/// Whether it is a ring without an entry yet; an error when it is none at all.
pub(crate) fn is_new(image: &[u8]) -> io::Result<bool> {
    let is_new = image.iter().all(|byte| *byte == 0);
    if !is_new && !image.starts_with(FIRST_BLOCK) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no spill file of this release, or a damaged one",
        ));
    }
    Ok(is_new)
}

/// An open and locked ring.
#[derive(Debug)]
pub(crate) struct Ring {
    file: File,
    /// Blocks in the file, with the first.
    blocks: usize,
    /// By the block where they begin.
    kept: BTreeMap<usize, Kept>,
    /// Where to look for room next.
    next: usize,
    /// The number of the newest entry.
    newest: u64,
}

/// An entry in the file.
#[derive(Clone, Copy, Debug)]
struct Kept {
    blocks: usize,
    number: u64,
    connection: ConnectionId,
    seen: Generation,
    granted: Generation,
    settled: bool,
}

/// Which entry it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose {
    pub(crate) connection: ConnectionId,
    pub(crate) seen: Generation,
    pub(crate) granted: Generation,
}

/// A ring that did not take an entry.
#[derive(Debug)]
pub(crate) enum AppendError {
    Full,
    Unwritable(io::Error),
}

impl Ring {
    /// Reads a file that this process has locked, and gives it its full length, in zeros that are on the disk: so that a
    /// full disk is noticed now and not later.
    pub(crate) fn open(mut file: File, bytes: usize) -> io::Result<Self> {
        let mut image = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut image)?;
        // Never shorter than it was: entries may lie there.
        let blocks = bytes.div_ceil(BLOCK).max(image.len().div_ceil(BLOCK)).max(LONGEST + 1);
        let is_new = is_new(&image)?;
        if image.len() < blocks * BLOCK {
            file.seek(SeekFrom::End(0))?;
            file.write_all(&vec![0; blocks * BLOCK - image.len()])?;
        }
        let mut ring = Self { file, blocks, kept: BTreeMap::new(), next: 1, newest: 0 };
        if is_new {
            ring.write_first_block()?;
        }
        ring.file.sync_all()?;
        ring.find_entries(&image);
        Ok(ring)
    }

    fn find_entries(&mut self, image: &[u8]) {
        for (block, found) in frames(image) {
            match found {
                Found::Whole(found) => self.remember(block, found),
                Found::Nothing | Found::Broken => {
                    tracing::warn!(block, "an entry of the spill file is not whole and is left out");
                }
            }
        }
    }

    fn remember(&mut self, block: usize, found: Frame<'_>) {
        let blocks = blocks_for(found.payload.len()).unwrap_or(1);
        if found.number > self.newest {
            (self.newest, self.next) = (found.number, block + blocks);
        }
        if let Some(SpillEntry { connection, seen, granted, .. }) = entry::decode(found.payload) {
            let (number, settled) = (found.number, found.settled);
            self.kept.insert(block, Kept { blocks, number, connection, seen, granted, settled });
        } else {
            tracing::warn!(block, "an entry of the spill file was written by another release and is left out");
        }
    }

    /// Writes an entry, not yet to the disk: [`Self::sync`] does that for all that were written. Gives its block.
    pub(crate) fn append(
        &mut self,
        Whose { connection, seen, granted }: Whose,
        payload: &[u8],
    ) -> Result<usize, AppendError> {
        let blocks = blocks_for(payload.len()).ok_or(AppendError::Full)?;
        if !folder::has_a_name(&self.file).map_err(AppendError::Unwritable)? {
            return Err(AppendError::Unwritable(io::Error::new(io::ErrorKind::NotFound, "the spill file was removed")));
        }
        let block = self.room(blocks).ok_or(AppendError::Full)?;
        self.kept.retain(|begin, kept| *begin >= block + blocks || begin + kept.blocks <= block);
        let number = self.newest + 1;
        self.write_at(block * BLOCK, &frame(number, payload)).map_err(AppendError::Unwritable)?;
        self.kept.insert(block, Kept { blocks, number, connection, seen, granted, settled: false });
        (self.newest, self.next) = (number, block + blocks);
        Ok(block)
    }

    /// Takes back an entry whose writing was not confirmed. It may be on the disk all the same; replaying it is harmless.
    pub(crate) fn forget(&mut self, block: usize) {
        self.kept.remove(&block);
    }

    /// Waits until everything that was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Marks entries as stored. Not synced: a mark that is lost means one harmless replay.
    pub(crate) fn settle(&mut self, connection: ConnectionId, seen: Generation) {
        let mut marks = Vec::new();
        for (block, kept) in &mut self.kept {
            if !kept.settled && kept.connection == connection && kept.seen == seen {
                kept.settled = true;
                marks.push((*block, kept.number));
            }
        }
        for (block, number) in marks {
            if let Err(error) = self.write_at(block * BLOCK + SETTLED_AT, &settled_mark(number)) {
                tracing::warn!(%error, "a stored entry could not be marked in the spill file; the next start replays it");
            }
        }
    }

    /// Reads the entries that are not settled, with their numbers.
    pub(crate) fn unsettled(&mut self) -> io::Result<Vec<(u64, SpillEntry)>> {
        let places: Vec<_> =
            self.kept.iter().filter(|(_, kept)| !kept.settled).map(|(at, kept)| (*at, *kept)).collect();
        let mut entries = Vec::new();
        for (block, kept) in places {
            let mut bytes = vec![0; kept.blocks * BLOCK];
            self.file.seek(SeekFrom::Start((block * BLOCK) as u64))?;
            self.file.read_exact(&mut bytes)?;
            match frame::read(&bytes) {
                Found::Whole(found) if found.number == kept.number => {
                    entries.extend(entry::decode(found.payload).map(|entry| (kept.number, entry)));
                }
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry was changed by somebody else")),
            }
        }
        Ok(entries)
    }

    /// Whether an entry is not settled.
    pub(crate) fn waits(&self) -> bool {
        self.kept.values().any(|kept| !kept.settled)
    }

    /// What is known to have been stored: the generation after the one that was seen.
    pub(crate) fn high_marks(&self) -> impl Iterator<Item = HighMark> + '_ {
        self.kept.values().filter(|kept| kept.settled).map(|kept| HighMark {
            connection: kept.connection,
            granted: kept.granted,
            stored: kept.seen.next(),
        })
    }

    /// Whether the longest entry would find room.
    pub(crate) fn has_room(&self) -> bool {
        self.room(LONGEST).is_some()
    }

    /// Tries the disk.
    pub(crate) fn probe(&mut self) -> io::Result<()> {
        if !folder::has_a_name(&self.file)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the spill file was removed"));
        }
        self.write_first_block()?;
        self.sync()
    }

    /// Lets another process have it.
    pub(crate) fn unlock(&self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a spill file stays locked until its process ends");
        }
    }

    /// The file, to look at.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The next run of blocks without an unsettled entry, going round once. It begins where the last one ended, or after
    /// an unsettled entry: so no entry ever loses its end and keeps its beginning.
    fn room(&self, blocks: usize) -> Option<usize> {
        let mut at = self.next;
        let mut went_round = false;
        loop {
            if at + blocks > self.blocks {
                if went_round {
                    return None;
                }
                (at, went_round) = (1, true);
            }
            let in_the_way = self
                .kept
                .iter()
                .filter(|(_, kept)| !kept.settled)
                .find(|(begin, kept)| **begin < at + blocks && **begin + kept.blocks > at);
            match in_the_way {
                Some((begin, kept)) => at = begin + kept.blocks,
                None => return Some(at),
            }
        }
    }

    fn write_first_block(&mut self) -> io::Result<()> {
        self.write_at(0, FIRST_BLOCK)
    }

    fn write_at(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at as u64))?;
        self.file.write_all(bytes)
    }
}
