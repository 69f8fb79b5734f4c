//! What several instances share: a private PostgreSQL and a private Redis, which can be crashed and started again.

mod postgres;
mod redis;
mod redis_protocol;

pub use postgres::{PostgresServer, TableLock};
pub use redis::RedisServer;

/// Whether a missing program is a failure and not a reason to leave a test out.
#[expect(clippy::disallowed_methods, reason = "a missing database is a failure on CI only")]
fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
