//! Reading the rings of others: of processes that live and go on writing, and of dead ones that somebody is just taking over.
//!
//! Nothing is locked, changed or kept. Entries have checksums, so that one which is being written is not there yet. And
//! what is not settled is never overwritten: whatever was whole before the look began is found by it, or is settled by then,
//! and its row is ahead.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::folder;
use crate::frame::{Found, Frame};
use crate::ring::{frames, is_new};

/// Tells of every whole entry in a folder, but for some rings. One that cannot be read keeps nobody from reading the others; then the
/// first error is given at the end.
pub(crate) fn each_entry(folder: &Path, but_for: &[usize], mut tell: impl FnMut(Frame<'_>)) -> io::Result<()> {
    let mut image = Vec::new();
    let mut unread = Ok(());
    for file in folder::rings_to_read(folder, but_for) {
        let read = file.and_then(|file| read_ring(file, &mut image, &mut tell));
        unread = unread.and(read);
    }
    unread
}

fn read_ring(mut file: File, image: &mut Vec<u8>, tell: &mut impl FnMut(Frame<'_>)) -> io::Result<()> {
    image.clear();
    file.read_to_end(image)?;
    // One that is just being made has no first block yet.
    if is_new(image)? {
        return Ok(());
    }
    for (_, found) in frames(image) {
        // What is broken is written at this moment, or told of by whoever holds the ring.
        if let Found::Whole(frame) = found {
            tell(frame);
        }
    }
    Ok(())
}
