//! The whole way from the vault's news to log, streams and receivers, under virtual time: hours of retries take none.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;
mod telling;
mod webhooks;
