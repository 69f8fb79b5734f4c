//! Drivers' errors in the domain's words.

use bowerbird_core::ports::StoreError;
use sqlx::error::ErrorKind;

/// SQLSTATE `program_limit_exceeded`: a value is too long for its index.
const POSTGRES_TOO_LONG: &str = "54000";
/// `SQLITE_TOOBIG`.
const SQLITE_TOO_BIG: &str = "18";

/// Says who is at fault: the write itself, a row, or the database.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let refused = match &error {
        sqlx::Error::Database(database) => match database.kind() {
            ErrorKind::UniqueViolation => Some("that name is taken"),
            ErrorKind::ForeignKeyViolation => Some("what it hangs from is gone"),
            _ => database
                .code()
                .filter(|code| code == POSTGRES_TOO_LONG || code == SQLITE_TOO_BIG)
                .map(|_| "a text is too long"),
        },
        _ => None,
    };
    match refused {
        Some(why) => StoreError::Refused(why),
        None => StoreError::Unavailable(Box::new(error)),
    }
}

/// A cause of our own that makes the database unavailable.
pub(crate) fn unavailable(cause: &'static str) -> StoreError {
    StoreError::Unavailable(cause.into())
}
