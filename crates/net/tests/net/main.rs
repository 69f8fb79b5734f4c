//! The network room against servers that misbehave. Rows are those of the attack catalogue, chapter egress.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod answers;
mod dns;
mod egress;
mod literals;
mod memory;
mod oracle;
mod overhead;
mod pooling;
mod proxies;
mod rebinding;
mod redirects;
mod sent;
mod streaming;
mod support;
mod tls;
