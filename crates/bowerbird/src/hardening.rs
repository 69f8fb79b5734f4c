//! What the process gives up before it holds a secret.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Forbids core dumps and reading the memory by other processes of the same user: both would show every key. Not every
/// platform lets us; the server then runs without, as any other would.
pub(crate) fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
}

/// Keeps memory in small pages: with huge ones the allocator's first few kilobytes cost ten megabytes. A system that
/// knows no huge pages has nothing to switch off.
pub(crate) fn use_small_pages() {
    let _not_there = disable_transparent_huge_pages(true);
}
