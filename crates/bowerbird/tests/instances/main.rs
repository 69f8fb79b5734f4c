//! Two processes on one PostgreSQL and one Redis: one installation behind a load balancer.
#![expect(clippy::panic, reason = "tests")]

mod leakage;
mod sessions;
mod support;
