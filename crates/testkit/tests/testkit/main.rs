//! The testkit's own tests: the fault servers behave like the real ones, and misbehave as told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod authorization_server;
mod hand_client;
mod misbehaviour;
mod oauth_crate;
mod pds_and_dns;
mod real_network;
