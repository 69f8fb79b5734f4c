//! The kit against a server from a script: accounts, sign-in, calls and recovery.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what is unexpected should stop them")]

mod accounts;
mod calls;
mod device;
mod faults;
#[cfg(target_os = "linux")]
mod memory;
mod signing_in;
mod world;
