//! Two server processes on one PostgreSQL and one Redis, in front of fault servers: one token request for each access token
//! that ends, whoever is stopped, crashed or flushed meanwhile.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod crowd;
mod outages;
mod pauses;
mod sign_out;
mod support;
