//! Columns out of either engine, typed, with a name for what is wrong.

use bowerbird_core::ports::StoreError;
use bowerbird_core::{Generation, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, error::BoxDynError};

/// A row that a statement gave.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row and the table that is named when a column cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowOf<'r> {
    row: &'r Row,
    table: &'static str,
}

impl Row {
    /// Says which table the row is of.
    pub(crate) fn of(&self, table: &'static str) -> RowOf<'_> {
        RowOf { row: self, table }
    }
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub(crate) fn $name(&self, column: &'static str) -> Result<$type, StoreError> {
            let read = match self.row {
                Row::Sqlite(row) => row.try_get(column),
                Row::Postgres(row) => row.try_get(column),
            };
            read.map_err(|error| self.unreadable(column, &error))
        }
    };
}

impl RowOf<'_> {
    getter!(integer, i64);
    getter!(optional_integer, Option<i64>);
    getter!(text, String);
    getter!(optional_text, Option<String>);
    getter!(bytes, Vec<u8>);
    getter!(optional_bytes, Option<Vec<u8>>);

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.integer(column).map(Timestamp::from_millis)
    }

    pub(crate) fn generation(&self, column: &'static str) -> Result<Generation, StoreError> {
        self.integer(column).map(Generation)
    }

    /// Reads a text and parses it.
    pub(crate) fn parsed<T, E>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        parse(&self.text(column)?).map_err(|_| self.inconsistent(column))
    }

    /// The error for a column whose value breaks a rule.
    pub(crate) fn inconsistent(&self, column: &'static str) -> StoreError {
        StoreError::Inconsistent { table: self.table, column }
    }

    fn unreadable(&self, column: &'static str, error: &sqlx::Error) -> StoreError {
        let cause: &BoxDynError = match error {
            sqlx::Error::ColumnDecode { source, .. } => source,
            _ => return self.inconsistent(column),
        };
        // The driver's words name types only, never the value.
        tracing::error!(table = self.table, column, %cause, "a column cannot be read");
        self.inconsistent(column)
    }
}
