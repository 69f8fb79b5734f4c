//! The kit as an OAuth client of its own: on fault servers that misbehave by script, and on the real PDS.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod accounts;
mod crashes;
#[path = "../kit/device.rs"]
mod device;
mod handles;
mod hostile;
mod real_pds;
mod refreshing;
mod signing_in;
mod world;
