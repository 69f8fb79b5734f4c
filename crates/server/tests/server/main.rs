//! The whole server over real sockets, in front of servers that follow the protocol until told otherwise. Rows are those
//! of the attack catalogue in the documentation's security chapter.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: a broken fixture should stop the test at once")]

mod app_pages;
mod app_passwords;
mod authorization;
mod callback;
mod compatibility;
mod cors;
mod credentials;
mod csrf;
mod declining;
mod device_accounts;
mod devices;
mod documents;
mod handoff;
mod hosts;
mod isolation;
mod limits;
mod login;
mod pages;
mod proxy;
mod redirects;
mod security_events;
mod support;
mod switching;
mod tokens_health;
