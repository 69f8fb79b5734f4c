//! Fault servers, the store conformance suite, the launcher of the real test network, actors for tests.
//!
//! | module | what it gives |
//! |---|---|
//! | [`fault`] | PLC directory, PDSes, authorization servers, DNS and a canary listener, correct until told otherwise |
//! | [`real`] | the real PDS and PLC as a child process, and the person's browser on it |
//! | [`databases`] | a private PostgreSQL and Redis, to be crashed and started again |
//! | `desktop` | a message bus with a real keyring (Linux) |
//! | [`server`] | the bowerbird binary as a child process |
//! | [`http_client`], [`actors`] | a browser with a cookie jar, an app with a bearer, raw sockets |
//! | [`injections`] | text that a page must not run |
//! | [`sweep`] | finds secrets where none may be |
//!
//! A test of the server, whole:
//!
//! ```no_run
//! # use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, endpoint};
//! # use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
//! # use bowerbird_testkit::sweep::Sweep;
//! # async fn test() {
//! let network = FaultNetwork::start().await; // add every server before the process starts: it gets them as allowlist
//! let alice = network.add_account("alice.test");
//! // In a test of the bowerbird package the path is env!("CARGO_BIN_EXE_bowerbird").
//! let server = BowerbirdProcess::start(ServerOptions::new("target/debug/bowerbird").on(&network)).await;
//! let mut visitor = server.visitor();
//! assert!(visitor.login("alice.test").await.status < 400);
//! assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
//!
//! // The PDS asks for another nonce each time: two attempts, then the server gives up (security row 30).
//! network.clear_logs();
//! network.pds().server().misbehave(endpoint::XRPC, Misbehave::ChallengeNonce);
//! let answer = visitor.get("/xrpc/app.bsky.feed.getTimeline").await;
//! assert_eq!((answer.status, answer.json()["error"].as_str()), (502, Some("dpop_nonce_loop")));
//! assert_eq!(network.pds().calls("app.bsky.feed.getTimeline"), 2);
//! assert!(network.ledger().presented(CanaryKind::RefreshToken).is_empty(), "no refresh was tried");
//!
//! network.assert_clean(); // nobody called the canary listener, no spent token was shown again
//! let secrets = network.canaries().into_iter().map(|canary| canary.value);
//! Sweep::new(secrets).folder(&server.data_dir()).bytes("log", &server.stderr().bytes()).assert_clean();
//! # }
//! ```
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
pub mod databases;
#[cfg(target_os = "linux")]
pub mod desktop;
pub mod fault;
pub mod http_client;
pub mod injections;
pub mod real;
pub mod server;
pub mod sweep;
mod threads;

pub use child::Captured;
