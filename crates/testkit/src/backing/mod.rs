//! What stands behind several instances: a real PostgreSQL and a real Redis, private to a test, gone with it.

mod postgres;
mod redis;

pub use postgres::{PostgresServer, TableLock};
pub use redis::{RedisServer, RedisValue};
