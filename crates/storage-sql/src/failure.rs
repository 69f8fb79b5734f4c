//! Drivers' errors in the domain's words.

use bowerbird_core::ports::StoreError;
use sqlx::error::ErrorKind;

/// SQLSTATE `program_limit_exceeded`: a value is too long for its index.
const POSTGRES_TOO_LONG: &str = "54000";
/// `SQLITE_TOOBIG`.
const SQLITE_TOO_BIG: &str = "18";

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
const SQLITE_DAMAGED: [i64; 2] = [11, 26];

/// The cause of "not available" when it is the file itself.
#[derive(Debug, thiserror::Error)]
#[error("the database file is damaged; restore a backup")]
pub(crate) struct Damaged(#[source] sqlx::Error);

/// Whether SQLite says that its file is no longer sound.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    let Some(database) = error.as_database_error() else { return false };
    // PostgreSQL's codes have five places.
    let code = database.code().filter(|code| code.len() < 5).and_then(|code| code.parse::<i64>().ok());
    // Extended codes keep the primary one in their low byte.
    code.is_some_and(|code| SQLITE_DAMAGED.contains(&(code & 0xff)))
}

/// Why the database refuses a write that another one, of the same transaction, need not suffer for.
pub(crate) fn refusal(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::Database(database) => match database.kind() {
            ErrorKind::UniqueViolation => Some("that name is taken"),
            ErrorKind::ForeignKeyViolation => Some("what it hangs from is gone"),
            _ => database
                .code()
                .filter(|code| code == POSTGRES_TOO_LONG || code == SQLITE_TOO_BIG)
                .map(|_| "a text is too long"),
        },
        _ => None,
    }
}

/// Says who is at fault: the write itself, a row, or the database.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match refusal(&error) {
        Some(why) => StoreError::Refused(why),
        None if is_damage(&error) => StoreError::Unavailable(Box::new(Damaged(error))),
        None => StoreError::Unavailable(Box::new(error)),
    }
}

/// A cause of our own that makes the database unavailable.
pub(crate) fn unavailable(cause: &'static str) -> StoreError {
    StoreError::Unavailable(cause.into())
}
