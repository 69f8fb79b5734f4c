//! An entry as bytes, in whole blocks, so that what was half-written, cut off or changed is told from what is whole.
//!
//! ```text
//! 0  magic: its first byte is in no UTF-8 text, so that no payload ever looks like a frame
//! 8  the settled mark: the number with every bit turned, once the entry is stored; not under the checksum
//! 16 the number: entries are counted up, for ever
//! 24 the payload's length
//! 32 SHA-256 of number, length and payload
//! 64 the payload: JSON text
//! ```

use sha2::{Digest as _, Sha256};

/// Entries begin at multiples of this: what a disk writes at once.
pub(crate) const BLOCK: usize = 4096;
/// The longest entry, in blocks.
pub(crate) const LONGEST: usize = 16;
/// Where the settled mark is in a frame.
pub(crate) const SETTLED_AT: usize = 8;

const MAGIC: [u8; 8] = *b"\xffBwrbSp1";
const PAYLOAD_AT: usize = 64;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) number: u64,
    pub(crate) settled: bool,
    pub(crate) payload: &'a [u8],
}

/// How many blocks a payload takes; None when it is too long.
pub(crate) fn blocks_for(payload: usize) -> Option<usize> {
    let blocks = payload.checked_add(PAYLOAD_AT)?.div_ceil(BLOCK);
    (blocks <= LONGEST).then_some(blocks)
}

/// Frames a payload that [`blocks_for`] found short enough.
pub(crate) fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let mut bytes = Vec::with_capacity(PAYLOAD_AT + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(number, length, payload));
    bytes.extend_from_slice(payload);
    bytes
}

/// The mark that says that the entry of that number is stored.
pub(crate) fn settled_mark(number: u64) -> [u8; 8] {
    (!number).to_le_bytes()
}

/// What is at the beginning of some blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// No frame begins here.
    Nothing,
    /// One begins and is not whole: its write was cut off, or it was changed.
    Broken,
    /// A whole one.
    Whole(Frame<'a>),
}

/// Reads a frame at the beginning of the bytes.
pub(crate) fn read(bytes: &[u8]) -> Found<'_> {
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Found::Nothing;
    }
    whole(bytes).map_or(Found::Broken, Found::Whole)
}

fn whole(bytes: &[u8]) -> Option<Frame<'_>> {
    let number = number_at(bytes, 16)?;
    let length = number_at(bytes, 24)?;
    let end = usize::try_from(length).ok()?.checked_add(PAYLOAD_AT)?;
    let payload = bytes.get(PAYLOAD_AT..end)?;
    blocks_for(payload.len())?;
    let same = bytes.get(32..PAYLOAD_AT)? == checksum(number, length, payload);
    let settled = bytes.get(SETTLED_AT..SETTLED_AT + 8)? == settled_mark(number);
    same.then_some(Frame { number, settled, payload })
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn checksum(number: u64, length: u64, payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(number.to_le_bytes());
    hash.update(length.to_le_bytes());
    hash.update(payload);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_or_changed_frame_is_whole_or_nothing(
            number in 1..u64::MAX,
            payload in proptest::collection::vec(any::<u8>(), 0..9000),
            cut in any::<prop::sample::Index>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let bytes = frame(number, &payload);
            let expected = Frame { number, settled: false, payload: &payload };
            prop_assert_eq!(read(&bytes), Found::Whole(expected));
            prop_assert!(!matches!(read(&bytes[..cut.index(bytes.len())]), Found::Whole(_)));

            let mut changed = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            // The settled mark is the one part that is not under the checksum; no single bit makes it hold.
            let in_mark = (SETTLED_AT..SETTLED_AT + 8).contains(&(bit / 8));
            match read(&changed) {
                Found::Whole(found) => { prop_assert!(in_mark); prop_assert_eq!(found, expected); }
                Found::Broken | Found::Nothing => prop_assert!(!in_mark),
            }
        }
    }

    #[test]
    fn a_settled_frame_says_so() {
        let mut bytes = frame(7, b"{}");
        bytes[SETTLED_AT..SETTLED_AT + 8].copy_from_slice(&settled_mark(7));
        assert_eq!(read(&bytes), Found::Whole(Frame { number: 7, settled: true, payload: b"{}" }));
    }

    #[test]
    fn the_longest_payload_is_known() {
        assert_eq!(blocks_for(0), Some(1));
        assert_eq!(blocks_for(BLOCK - PAYLOAD_AT), Some(1));
        assert_eq!(blocks_for(BLOCK - PAYLOAD_AT + 1), Some(2));
        assert_eq!(blocks_for(LONGEST * BLOCK - PAYLOAD_AT), Some(LONGEST));
        assert_eq!(blocks_for(LONGEST * BLOCK - PAYLOAD_AT + 1), None);
        assert_eq!(blocks_for(usize::MAX), None);
    }
}
