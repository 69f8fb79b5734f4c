//! Two server processes on one PostgreSQL and one Redis, in front of fault servers. One token request for each access token
//! that ends, whoever is stopped, crashed or flushed meanwhile; and behind one name, sessions that either answers for.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod alerts;
mod behind_one_name;
mod crowd;
mod leakage;
mod outages;
mod pauses;
mod sessions;
mod support;
