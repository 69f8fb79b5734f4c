//! Statements on their way to the connection's thread: one, or a few in one trip.
//!
//! A trip there and back is two changes of thread, which cost more than what the statement does. A few writes at once
//! (refreshes that begin and end) make the trips what a commit takes longest for, so they travel as one text, from
//! `BEGIN` to `COMMIT`.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Either, Execute, Executor as _, Sqlite};

use crate::row::Row;
use crate::statement::{Statement, add_all};

/// So many statements travel as one at most. Texts of so few come again and again, and are kept prepared; of more there is
/// hardly ever the same one twice, and to prepare it costs more than the trips that it saves.
pub(super) const TOGETHER: usize = 4;

/// What a statement did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The rows that it gave.
    pub(crate) rows: Vec<Row>,
    /// The number of rows that it changed.
    pub(crate) changed: u64,
}

/// Runs one statement; outside a transaction it is one by itself.
pub(super) async fn run_one(connection: &mut SqliteConnection, statement: &Statement) -> Result<Done, sqlx::Error> {
    let arguments = arguments([statement])?;
    let mut done = run(connection, sqlx::query_with(statement.sql, arguments)).await?;
    Ok(done.pop().unwrap_or_default())
}

/// Statements that travel as one.
pub(super) struct Together {
    text: String,
    arguments: SqliteArguments,
}

impl Together {
    /// One transaction of all of them.
    pub(super) fn of<'s>(statements: impl Iterator<Item = &'s Statement> + Clone) -> Result<Self, sqlx::Error> {
        let arguments = arguments(statements.clone())?;
        // Takes the write lock at once, so that no statement in between can fail for want of it.
        let mut text = "BEGIN IMMEDIATE;".to_owned();
        let mut values = 0;
        for statement in statements {
            push_renumbered(&mut text, statement.sql, values);
            text.push(';');
            values += statement.values.len();
        }
        text.push_str("COMMIT");
        Ok(Self { text, arguments })
    }

    /// What each of them did. After an error the transaction may be open still, and nothing says which of them it was.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<Vec<Done>, sqlx::Error> {
        // Safe: fixed texts, one behind the other, with the values beside them as always.
        let mut done = run(connection, sqlx::query_with(AssertSqlSafe(self.text), self.arguments)).await?;
        // The ends of COMMIT and BEGIN.
        done.pop();
        if !done.is_empty() {
            done.remove(0);
        }
        Ok(done)
    }
}

/// Runs a text to its end; what each of its statements did.
async fn run<'q>(
    connection: &mut SqliteConnection,
    query: impl Execute<'q, Sqlite> + 'q,
) -> Result<Vec<Done>, sqlx::Error> {
    let mut answers = connection.fetch_many(query);
    let (mut all, mut rows) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Right(row) => rows.push(Row::Sqlite(row)),
            Either::Left(end) => {
                all.push(Done { rows: std::mem::take(&mut rows), changed: end.rows_affected() });
            }
        }
    }
    Ok(all)
}

fn arguments<'s>(statements: impl IntoIterator<Item = &'s Statement>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for statement in statements {
        // Copied: a write that shares its transaction may have to be made once more without the others.
        add_all(statement.values.clone(), &mut arguments)?;
    }
    Ok(arguments)
}

/// Appends a statement whose `$1` becomes `$8` behind seven other values. No text of ours has a `$` that is not a value.
fn push_renumbered(text: &mut String, sql: &str, before: usize) {
    let mut parts = sql.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default() + before;
        // Writing into a String cannot fail.
        let _infallible = write!(text, "${number}{rest}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_through() {
        let mut text = String::new();
        push_renumbered(&mut text, "UPDATE t SET a = $1, b = $12 WHERE c = $1", 0);
        assert_eq!(text, "UPDATE t SET a = $1, b = $12 WHERE c = $1");
        text.clear();
        push_renumbered(&mut text, "UPDATE t SET a = $1, b = $12 WHERE c = $1", 7);
        assert_eq!(text, "UPDATE t SET a = $8, b = $19 WHERE c = $8");
        text.clear();
        push_renumbered(&mut text, "DELETE FROM t", 7);
        assert_eq!(text, "DELETE FROM t");
    }
}
