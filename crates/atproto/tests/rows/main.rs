//! The rows of the attack catalogue that this room answers for, on a network of fault servers.
//!
//! Each test is named after its row, and asserts what was answered *and* what was not sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected should stop")]

mod app_password;
mod changed_identity;
mod hostile_servers;
mod login;
mod nonces;
mod oauth_client;
mod proxy;
mod refresh;
mod storage;
mod take_over;
#[expect(dead_code, reason = "its main function is for people")]
#[path = "../../examples/web_demo.rs"]
mod web_demo;
mod web_demo_test;
mod world;
