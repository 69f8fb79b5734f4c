//! What the disk can do.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Durable appends of one block in a second, one after the other.
pub(crate) fn rate(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).expect("a file");
    let block = [1; 4096];
    let begun = Instant::now();
    let mut writes = 0_u32;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&block).expect("writes");
        file.sync_data().expect("is durable");
        writes += 1;
    }
    f64::from(writes) / begun.elapsed().as_secs_f64()
}
