//! Fault servers, the store conformance suite, the launcher of the real test network, actors for tests.
//!
//! | module | what it gives |
//! |---|---|
//! | [`fault`] | PLC directory, PDSes, authorization servers, DNS and a canary listener, correct until told otherwise |
//! | [`real`] | the real PDS and PLC as a child process, and the person's browser on it |
//! | [`server`] | the bowerbird binary as a child process |
//! | [`http_client`], [`actors`] | a browser with a cookie jar, an app with a bearer, raw sockets |
//! | [`sweep`] | finds secrets where none may be |
//!
//! Everything listens on 127.0.0.1 and calls nothing else. The fault servers run on threads of their own, so that a
//! test may block or pause its own time.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "test support: a broken fixture should stop the test at once, with the cause"
)]

pub mod actors;
mod child;
pub mod conformance;
pub mod fault;
pub mod http_client;
pub mod real;
pub mod server;
pub mod sweep;
mod threads;

pub use child::Captured;
