//! The shared fast tier: Redis or Valkey (DECISIONS 10). Nothing in it is the truth and all of it may be lost at any
//! moment; without it everything is correct, only slower. It never holds a refresh token, and what it holds is sealed by
//! whoever puts it there.
//!
//! | file | what it holds |
//! |---|---|
//! | `address.rs` | the address: one server or a cluster, TLS, user and password |
//! | `link.rs` | the way there: bounded in time, resting after a failure, healing by itself |
//! | `tier.rs` | copies of rows, and rate limits |
//! | `feed.rs` | news between instances |

mod address;
mod feed;
mod link;
mod tier;

pub use feed::RedisFeed;
pub use tier::RedisTier;

/// A tier that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is malformed.
    #[error("the address of Redis is not usable: {0}")]
    Address(&'static str),
    /// The client cannot be made, or the server does not answer.
    #[error("Redis cannot be used")]
    Client(#[source] redis::RedisError),
    /// It was opened outside of a tokio runtime.
    #[error("Redis was opened outside of a runtime")]
    NoRuntime,
}
