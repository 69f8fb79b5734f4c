//! The sign-ins in a SQLite file of another program: the storage of `@tijs/atproto-oauth-hono` and of `@tijs/atproto-storage`,
//! a table of texts by key. Nothing is ever written into that file or beside it.

use std::fs;
use std::path::{Path, PathBuf};

use bowerbird_core::SecretBytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::sqlite::beside;

/// The names that the packages give their table by themselves.
const TABLES: [&str; 2] = ["iron_session_storage", "oauth_storage"];
/// The keys of sign-ins begin so; others are logins under way.
const PREFIX: &str = "session:";
/// The largest value that is read, in bytes: a sign-in has some two thousand.
const MAX_VALUE: i64 = 64 * 1024;
/// A DID has 2048 at most.
const MAX_KEY: i64 = 2100;
/// How many rows are read at a time.
const PAGE: i64 = 200;

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is not there, or not readable.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A log with changes lies beside it: its server runs, or was not stopped in order.
    #[error("{} holds changes that are not in the file yet", .0.display())]
    InUse(PathBuf),
    /// It is no SQLite database, or a damaged one.
    #[error("{} is not a SQLite database that can be read", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has no table with that name, or none that is known.
    #[error("there is no table {0} in it")]
    NoTable(String),
    /// Both tables are in it.
    #[error("both {} and {} are in it", TABLES[0], TABLES[1])]
    SeveralTables,
    /// The table has other columns than it should.
    #[error("the table {table} has no column `{column}`")]
    NoColumn {
        /// The table.
        table: String,
        /// What is missing.
        column: &'static str,
    },
}

/// A row as it is, to be judged by whoever knows what it should say.
#[derive(Debug)]
pub struct ForeignRow {
    /// What stands behind `session:`; None when it is no text or too long.
    pub subject: Option<String>,
    /// The text; None when it is larger than a sign-in can be.
    pub value: Option<SecretBytes>,
    /// Its length in bytes.
    pub length: i64,
    /// When it ends, in milliseconds as digits; None for never.
    pub expires_at: Option<String>,
    /// When it was made, the same way.
    pub created_at: Option<String>,
}

/// The file, opened for reading.
#[derive(Debug)]
pub struct ForeignSessions {
    connection: SqliteConnection,
    path: PathBuf,
    table: String,
    created_at: &'static str,
    after: i64,
}

impl ForeignSessions {
    /// Opens a file. `table` is its table's name, where it is not one that the packages use.
    pub async fn open(path: &Path, table: Option<&str>) -> Result<Self, ForeignError> {
        let found = fs::metadata(path).and_then(|found| if found.is_file() { Ok(found) } else { Err(no_file()) });
        let found = found.map_err(|source| ForeignError::File { path: path.to_owned(), source })?;
        for ending in ["-wal", "-journal"] {
            let log = beside(path, ending);
            if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                return Err(ForeignError::InUse(log));
            }
        }
        let failed = |source: sqlx::Error| not_a_database(path, source);
        if found.len() == 0 {
            return Err(not_a_database(path, "it is empty"));
        }
        // Immutable: SQLite makes no log and no lock beside a file that is not ours, and could not change it.
        let options =
            SqliteConnectOptions::new().filename(path).read_only(true).immutable(true).disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        let tables = sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table'");
        let tables = tables.fetch_all(&mut connection).await.map_err(failed)?;
        let tables: Vec<String> = tables.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let is_there = |name: &str| tables.iter().any(|table| table == name);
        let table = match (table, TABLES.map(is_there)) {
            (Some(named), _) if is_there(named) => named,
            (Some(named), _) => return Err(ForeignError::NoTable(named.to_owned())),
            (None, [true, true]) => return Err(ForeignError::SeveralTables),
            (None, [true, false]) => TABLES[0],
            (None, [false, true]) => TABLES[1],
            (None, [false, false]) => return Err(ForeignError::NoTable(TABLES.join(" or "))),
        };
        let columns = sqlx::query("SELECT name FROM pragma_table_info(?)").bind(table);
        let columns = columns.fetch_all(&mut connection).await.map_err(failed)?;
        let columns: Vec<String> = columns.iter().filter_map(|row| row.try_get(0).ok()).collect();
        for column in ["key", "value", "expires_at"] {
            if !columns.iter().any(|found| found == column) {
                return Err(ForeignError::NoColumn { table: table.to_owned(), column });
            }
        }
        // Older tables have no such column.
        let created_at = if columns.iter().any(|found| found == "created_at") { "created_at" } else { "NULL" };
        Ok(Self { connection, path: path.to_owned(), table: table.to_owned(), created_at, after: i64::MIN })
    }

    /// The table that is read.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// How many sign-ins are in it.
    pub async fn count(&mut self) -> Result<u64, ForeignError> {
        let sql = format!("SELECT count(*) FROM {} WHERE {}", self.quoted(), sign_in());
        let counted = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let counted = counted.and_then(|row| row.try_get::<i64, _>(0));
        counted.map(i64::unsigned_abs).map_err(|source| not_a_database(&self.path, source))
    }

    /// The next rows; none at the end.
    pub async fn next_page(&mut self) -> Result<Vec<ForeignRow>, ForeignError> {
        // Everything as bytes and cut to size by the database: a column may hold anything, of any length.
        let sql = format!(
            "SELECT rowid, \
             CASE WHEN length(CAST(key AS BLOB)) <= {MAX_KEY} THEN CAST(key AS BLOB) END, \
             CASE WHEN length(CAST(value AS BLOB)) <= {MAX_VALUE} THEN CAST(value AS BLOB) END, \
             length(CAST(value AS BLOB)), \
             substr(CAST(expires_at AS BLOB), 1, 32), substr(CAST({} AS BLOB), 1, 32) \
             FROM {} WHERE {} AND rowid > ? ORDER BY rowid LIMIT {PAGE}",
            self.created_at,
            self.quoted(),
            sign_in(),
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(self.after).fetch_all(&mut self.connection).await;
        let failed = |source| not_a_database(&self.path, source);
        let rows = rows.map_err(failed)?;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            self.after = row.try_get(0).map_err(failed)?;
            page.push(read(row).map_err(failed)?);
        }
        Ok(page)
    }

    /// Closes the file.
    pub async fn close(self) {
        // It was only read: there is nothing to lose.
        let _closed = self.connection.close().await;
    }

    /// The table's name is the operator's: quoted, it is a name whatever is in it.
    fn quoted(&self) -> String {
        format!("\"{}\"", self.table.replace('"', "\"\""))
    }
}

fn sign_in() -> String {
    format!("substr(CAST(key AS TEXT), 1, {}) = '{PREFIX}'", PREFIX.len())
}

fn read(row: &SqliteRow) -> Result<ForeignRow, sqlx::Error> {
    let text = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text(row.try_get(1)?);
    let subject = key.and_then(|key| key.strip_prefix(PREFIX).map(str::to_owned));
    Ok(ForeignRow {
        subject,
        value: row.try_get::<Option<Vec<u8>>, _>(2)?.map(SecretBytes::new),
        length: row.try_get::<Option<i64>, _>(3)?.unwrap_or(0),
        expires_at: text(row.try_get(4)?),
        created_at: text(row.try_get(5)?),
    })
}

fn no_file() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file")
}

fn not_a_database(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ForeignError {
    ForeignError::NotADatabase { path: path.to_owned(), source: source.into() }
}
