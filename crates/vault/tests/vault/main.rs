//! The vault over stores in memory, with an issuer on script. Every test asserts how often a refresh token was sent.
#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod canary;
mod checkout;
mod crash;
mod engine;
mod grants;
mod keys;
mod outcomes;
mod rotation;
mod sealing;
mod support;
