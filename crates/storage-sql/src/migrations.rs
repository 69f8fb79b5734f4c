//! Bringing a schema up to date, or saying why not.

use std::collections::HashMap;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::open_error::OpenError;

/// Where the applied steps are written down; not sqlx's default, which another program in the same database may use.
const HISTORY_TABLE: &str = "schema_migrations";

/// How far a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every step is applied.
    Complete,
    /// Some steps are left.
    Pending,
}

fn sqlite_migrator() -> Migrator {
    named(sqlx::migrate!("migrations/sqlite"))
}

fn postgres_migrator() -> Migrator {
    named(sqlx::migrate!("migrations/postgres"))
}

fn named(mut migrator: Migrator) -> Migrator {
    migrator.dangerous_set_table_name(HISTORY_TABLE);
    migrator
}

/// Compares the file's steps with ours; reads only.
pub(crate) async fn sqlite_progress(connection: &mut SqliteConnection) -> Result<Progress, OpenError> {
    progress(connection, &sqlite_migrator()).await
}

/// Applies what is left. One caller at a time: SQLite has no lock for this, so the caller holds a lock file.
pub(crate) async fn migrate_sqlite(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    apply(connection, &sqlite_migrator()).await
}

/// Compares, then applies what is left under PostgreSQL's advisory lock, which ends with the connection: so it is one
/// of its own, never a pooled one.
pub(crate) async fn migrate_postgres(connection: &mut PgConnection) -> Result<(), OpenError> {
    let migrator = postgres_migrator();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(HISTORY_TABLE)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| OpenError::Unreachable(error.into()))?;
    if exists && progress(connection, &migrator).await? == Progress::Complete {
        return Ok(());
    }
    apply(connection, &migrator).await
}

async fn progress<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<Progress, OpenError> {
    let applied = connection.list_applied_migrations(HISTORY_TABLE).await.map_err(|error| classify(error, migrator))?;
    let ours: HashMap<i64, &[u8]> = migrator.iter().map(|step| (step.version, step.checksum.as_ref())).collect();
    for step in &applied {
        match ours.get(&step.version) {
            None => return Err(unknown_step(step.version, migrator)),
            Some(checksum) if **checksum != *step.checksum => {
                return Err(OpenError::History { version: step.version });
            }
            Some(_) => {}
        }
    }
    Ok(if applied.len() == ours.len() { Progress::Complete } else { Progress::Pending })
}

async fn apply<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<(), OpenError> {
    migrator.run_direct(None, connection, false).await.map_err(|error| classify(error, migrator))
}

fn classify(error: MigrateError, migrator: &Migrator) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) => unknown_step(version, migrator),
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => OpenError::History { version },
        error => OpenError::Migration(error.into()),
    }
}

fn unknown_step(found: i64, migrator: &Migrator) -> OpenError {
    let known = migrator.iter().map(|step| step.version).max().unwrap_or_default();
    if found > known { OpenError::Newer { found, known } } else { OpenError::History { version: found } }
}
