//! Ctrl-C and SIGTERM: the first one asks every task to end in order, which stops the servers it started.

use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Catches the signals from now on; without it a server in its own process group would outlive this program.
pub(crate) fn install() -> Result<()> {
    ctrlc::set_handler(|| ASKED.store(true, Ordering::SeqCst)).context("cannot catch Ctrl-C")
}

/// Whether somebody asked this program to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// An error once somebody asked this program to end: for loops and between stages.
pub(crate) fn check() -> Result<()> {
    ensure!(!asked(), "interrupted");
    Ok(())
}

/// Waits for this long, or until somebody asked this program to end.
pub(crate) fn sleep(duration: Duration) -> Result<()> {
    let step = Duration::from_millis(50);
    let mut left = duration;
    while !left.is_zero() {
        check()?;
        let now = left.min(step);
        std::thread::sleep(now);
        left -= now;
    }
    check()
}
