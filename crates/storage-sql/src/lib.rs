//! The truth: SQLite and PostgreSQL stores.
//!
//! [`SqlStores::open`] takes a `sqlite:` or `postgres:` URL, brings the schema up to date, checks that a commit is
//! durable, and gives the stores of `bowerbird_core::ports`. Every store is written once, in SQL that both engines
//! read the same way; what differs lives in two engines:
//!
//! | module | what it holds |
//! |---|---|
//! | `statement`, `row`, `failure` | one face of both drivers: SQL with values in, typed columns or a `StoreError` out |
//! | `engine` | where reads and writes go |
//! | `sqlite` | the file and its modes, the one writer (group commit), a few readers |
//! | `postgres` | the pool and its checks |
//! | `migrations` | bringing a schema up to date, or saying why not |
//! | `stores` | one file per store |
//! | `installation` | whose database it is, how far it is, whether it was restored |
//! | `backup`, `restore` | a copy while in use; a copy put in place while nobody uses it |
//! | `giving_up` | what an operator gives up with a key |
//! | `foreign_sessions` | the file of another program, read to take its sign-ins over |
//!
//! With SQLite several processes may have the file open (a server, and `bowerbird accounts list` beside it): writes
//! take turns, and the lease in a credential's row keeps them from refreshing it at once.

mod backup;
mod database_url;
mod engine;
mod failure;
mod foreign_sessions;
mod giving_up;
mod installation;
mod migrations;
mod open_error;
mod postgres;
mod restore;
mod row;
mod sql_stores;
mod sqlite;
mod statement;
mod stores;

pub use backup::BackupError;
pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use engine::LeaseClock;
pub use foreign_sessions::{ForeignError, ForeignRow, ForeignSessions};
pub use giving_up::Abandoned;
pub use installation::Epoch;
pub use open_error::OpenError;
pub use postgres::PostgresFeed;
pub use restore::{ExaminedBackup, RestoreError};
pub use sql_stores::{CheckError, OpenOptions, SqlStores};
pub use stores::{Attention, StateCounts};
