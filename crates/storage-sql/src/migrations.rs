//! Bringing a schema up to date, or saying why not.

use std::collections::HashMap;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::open_error::OpenError;

/// Where the applied steps are written down; not sqlx's default, which another program in the same database may use.
const HISTORY_TABLE: &str = "schema_migrations";

/// What the newest program that brought a database up to date promises to older ones.
const FLOOR: &str = "SELECT needs_step FROM schema_floor WHERE only_row = 1";

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
    // A newer program's are judged by [`compare`], before anything is applied.
    migrator.set_ignore_missing(true);
    migrator
}

/// Compares the file's steps with ours; reads only.
pub(crate) async fn sqlite_progress(connection: &mut SqliteConnection) -> Result<Progress, OpenError> {
    let migrator = sqlite_migrator();
    let compared = compare(connection, &migrator).await?;
    // Without the table, or with an unreadable one, there is no promise to rely on.
    let floor = match compared.newer {
        Some(_) => sqlx::query_scalar(FLOOR).fetch_optional(connection).await.ok().flatten(),
        None => None,
    };
    compared.judge(floor, &migrator)
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
    if exists {
        let compared = compare(connection, &migrator).await?;
        let floor = match compared.newer {
            Some(_) => sqlx::query_scalar(FLOOR).fetch_optional(&mut *connection).await.ok().flatten(),
            None => None,
        };
        if compared.judge(floor, &migrator)? == Progress::Complete {
            return Ok(());
        }
    }
    apply(connection, &migrator).await
}

/// The steps of a database beside ours.
struct Compared {
    progress: Progress,
    /// The newest step that we do not know; a newer program made it.
    newer: Option<i64>,
}

impl Compared {
    /// Whether to work on the database: on a newer one only if it promises that programs which know as much as we do can.
    fn judge(self, floor: Option<i64>, migrator: &Migrator) -> Result<Progress, OpenError> {
        let Some(found) = self.newer else { return Ok(self.progress) };
        let known = newest(migrator);
        match floor {
            Some(floor) if migrator.version_exists(floor) => {
                tracing::info!(
                    found,
                    known,
                    "the database's schema is a newer bowerbird's, and this one can work on it"
                );
                Ok(self.progress)
            }
            _ => Err(OpenError::Newer { found, known }),
        }
    }
}

async fn compare<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<Compared, OpenError> {
    let applied = connection.list_applied_migrations(HISTORY_TABLE).await.map_err(|error| classify(error, migrator))?;
    let ours: HashMap<i64, &[u8]> = migrator.iter().map(|step| (step.version, step.checksum.as_ref())).collect();
    let (mut known, mut newer) = (0, None);
    for step in &applied {
        match ours.get(&step.version) {
            None if step.version > newest(migrator) => newer = newer.max(Some(step.version)),
            Some(checksum) if **checksum == *step.checksum => known += 1,
            _ => return Err(OpenError::History { version: step.version }),
        }
    }
    let progress = if known == ours.len() { Progress::Complete } else { Progress::Pending };
    Ok(Compared { progress, newer })
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|step| step.version).max().unwrap_or_default()
}

async fn apply<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<(), OpenError> {
    migrator.run_direct(None, connection, false).await.map_err(|error| classify(error, migrator))
}

fn classify(error: MigrateError, migrator: &Migrator) -> OpenError {
    match error {
        MigrateError::VersionMissing(found) if found > newest(migrator) => {
            OpenError::Newer { found, known: newest(migrator) }
        }
        MigrateError::VersionMissing(version)
        | MigrateError::VersionMismatch(version)
        | MigrateError::Dirty(version) => OpenError::History { version },
        error => OpenError::Migration(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program of the release before notices. Names of indexes are nobody's business but the database's.
    const CONTRACTS: [&str; 7] =
        ["DROP TABLE", "DROP COLUMN", "RENAME", "ALTER COLUMN", "SET NOT NULL", "ADD CONSTRAINT", "CREATE TRIGGER"];

    /// Triggers that only note what the release before does, and change nothing about it.
    const NOTES_ALONE: [i64; 1] = [20_261_125_110_000];

    /// What a step does that the release before cannot live with.
    fn contracts(sql: &str) -> Option<String> {
        let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        let text = lines.collect::<Vec<_>>().join(" ").to_uppercase();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.contains("UPDATE SCHEMA_FLOOR SET NEEDS_STEP") {
            return None;
        }
        let statements = text.split(';').map(str::trim);
        let made: Vec<&str> = statements.clone().filter_map(|s| s.strip_prefix("CREATE TABLE ")).collect();
        let is_new = |table: &str| made.iter().any(|made| made.split([' ', '(']).next() == Some(table));
        for statement in statements {
            let word = CONTRACTS.into_iter().find(|word| statement.contains(word)).map(str::to_owned);
            let bare =
                statement.contains("ADD COLUMN") && statement.contains("NOT NULL") && !statement.contains("DEFAULT");
            let unique = statement.strip_prefix("CREATE UNIQUE INDEX ").and_then(|rest| rest.split(" ON ").nth(1));
            let unique = unique.and_then(|on| on.split([' ', '(']).next()).filter(|table| !is_new(table));
            let found = word
                .or_else(|| bare.then(|| "a column that is NOT NULL without a DEFAULT".to_owned()))
                .or_else(|| unique.map(|table| format!("a new uniqueness in {table}")));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    #[test]
    fn no_step_takes_away_what_the_release_before_uses() {
        for migrator in [sqlite_migrator(), postgres_migrator()] {
            for step in migrator.iter().filter(|step| !NOTES_ALONE.contains(&step.version)) {
                assert_eq!(contracts(step.sql.as_str()), None, "step {} {}", step.version, step.description);
            }
        }
    }

    #[test]
    fn the_check_of_steps_finds_what_contracts() {
        for sql in [
            "DROP TABLE credentials",
            "ALTER TABLE a DROP\n  COLUMN b",
            "alter table a rename column b to c",
            "ALTER TABLE a ADD COLUMN b TEXT NOT NULL",
            "ALTER TABLE a ALTER COLUMN b TYPE BIGINT",
            "CREATE UNIQUE INDEX i ON accounts (handle)",
            "CREATE TABLE b (c TEXT); CREATE UNIQUE INDEX i ON accounts (handle)",
        ] {
            assert!(contracts(sql).is_some(), "{sql}");
        }
        for sql in [
            "-- DROP TABLE is not done here\nALTER TABLE a ADD COLUMN b TEXT",
            "ALTER TABLE a ADD COLUMN b INTEGER NOT NULL DEFAULT 0",
            "CREATE TABLE b (c TEXT NOT NULL); CREATE UNIQUE INDEX i ON b (c)",
            "DROP INDEX i; CREATE INDEX i ON a (b)",
            "UPDATE schema_floor SET needs_step = 1; DROP TABLE b",
        ] {
            assert_eq!(contracts(sql), None, "{sql}");
        }
    }

    #[test]
    fn both_engines_have_the_same_steps() {
        let steps = |migrator: Migrator| migrator.iter().map(|step| step.version).collect::<Vec<_>>();
        let mut sqlite = steps(sqlite_migrator());
        // Marks the file; a server has no such place.
        sqlite.retain(|version| *version != 20_261_121_050_100);
        let mut postgres = steps(postgres_migrator());
        // The log of changed device sessions is for several instances, which share no file.
        postgres.retain(|version| *version != 20_261_125_110_000);
        assert_eq!(sqlite, postgres);
    }
}
