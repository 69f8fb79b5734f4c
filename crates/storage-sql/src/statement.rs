//! SQL with its values: text that is fixed at compile time, values that never become part of it.

use bowerbird_core::ports::StoreError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Encode, Type};

/// A statement. `$1`, `$2`… name the values in order, in both engines.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Value>,
}

/// A value that both engines store the same way. NULL has a type because PostgreSQL asks for it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Statement {
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// Adds the next value.
    pub(crate) fn with(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Refuses NUL: PostgreSQL cannot store it, and what one engine stores the other must be able to take over.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let nul = |value: &Value| matches!(value, Value::Text(Some(text)) if text.contains('\0'));
        if self.values.iter().any(nul) { Err(StoreError::Refused("a text holds a NUL character")) } else { Ok(()) }
    }

    pub(crate) fn sqlite(self) -> Result<(&'static str, SqliteArguments), sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        add_all(self.values, &mut arguments)?;
        Ok((self.sql, arguments))
    }

    pub(crate) fn postgres(self) -> Result<(&'static str, PgArguments), sqlx::Error> {
        let mut arguments = PgArguments::default();
        add_all(self.values, &mut arguments)?;
        Ok((self.sql, arguments))
    }
}

/// Adds values to those of a driver.
pub(crate) fn add_all<A, D>(values: Vec<Value>, arguments: &mut A) -> Result<(), sqlx::Error>
where
    D: sqlx::Database,
    A: sqlx::Arguments<Database = D>,
    for<'q> Option<i64>: Encode<'q, D> + Type<D>,
    for<'q> Option<String>: Encode<'q, D> + Type<D>,
    for<'q> Option<Vec<u8>>: Encode<'q, D> + Type<D>,
{
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl From<bowerbird_core::Timestamp> for Value {
    fn from(value: bowerbird_core::Timestamp) -> Self {
        Self::Integer(Some(value.as_millis()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Option<&[u8]>> for Value {
    fn from(value: Option<&[u8]>) -> Self {
        Self::Bytes(value.map(<[u8]>::to_vec))
    }
}

macro_rules! text_value {
    ($($id:ty),*) => {
        $(impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Text(Some(id.to_string()))
            }
        })*
    };
}
text_value!(bowerbird_core::AccountId, bowerbird_core::ConnectionId, &bowerbird_core::DeviceSessionId);
