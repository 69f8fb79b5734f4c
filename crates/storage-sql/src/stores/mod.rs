//! One file per store; each is written once, over either engine.

mod accounts;
mod alerts;
mod authorization_requests;
mod connections;
mod credentials;
mod data_keys;
mod device_sessions;
mod handoffs;
mod older_contract;
mod renewals;
mod security_events;

use bowerbird_core::ports::Cas;

pub use self::credentials::{Attention, StateCounts};

/// Whether a conditional update found its row.
fn cas(changed: u64) -> Cas {
    if changed == 0 { Cas::Stale } else { Cas::Done }
}

/// A count as a driver gives it; negative cannot be.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
