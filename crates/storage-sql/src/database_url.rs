//! Which database is meant.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bowerbird_core::Secret;

/// A parsed `BOWERBIRD_DATABASE_URL`.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL as libpq reads it; it may hold a password.
    Postgres(Secret),
}

/// A text that names no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// The scheme is none of ours.
    #[error("the database URL must begin with sqlite: or postgres://")]
    Scheme,
    /// `sqlite:` without a file.
    #[error("the database URL names no file; write sqlite:PATH, such as sqlite:./bowerbird-data/bowerbird.sqlite")]
    NoFile,
    /// `sqlite::memory:`.
    #[error("a database in memory would lose every sign-in at exit; write sqlite:PATH")]
    Memory,
    /// `sqlite:PATH?…`.
    #[error("a sqlite: URL takes no parameters after `?`; durability is not adjustable")]
    Parameters,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    /// Reads `sqlite:PATH`, `sqlite://PATH`, `postgres://…` or `postgresql://…`.
    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text)));
        }
        let path = text.strip_prefix("sqlite:").ok_or(DatabaseUrlError::Scheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" => Err(DatabaseUrlError::NoFile),
            _ if path.starts_with(":memory:") => Err(DatabaseUrlError::Memory),
            _ if path.contains('?') => Err(DatabaseUrlError::Parameters),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres([redacted])"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for text in ["sqlite:/d/b.sqlite", "sqlite:///d/b.sqlite"] {
            let url = text.parse();
            assert!(matches!(url, Ok(DatabaseUrl::Sqlite(path)) if path == Path::new("/d/b.sqlite")), "{text}");
        }
        let relative = "sqlite:./b.sqlite".parse();
        assert!(matches!(relative, Ok(DatabaseUrl::Sqlite(path)) if path == Path::new("./b.sqlite")));
        for text in ["postgres://u:p@h/db", "postgresql://h/db?sslmode=require"] {
            assert!(matches!(text.parse(), Ok(DatabaseUrl::Postgres(_))), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_hides_the_password() {
        let error = |text: &str| text.parse::<DatabaseUrl>().err();
        assert_eq!(error("mysql://h/db"), Some(DatabaseUrlError::Scheme));
        assert_eq!(error("b.sqlite"), Some(DatabaseUrlError::Scheme));
        assert_eq!(error("sqlite:"), Some(DatabaseUrlError::NoFile));
        assert_eq!(error("sqlite::memory:"), Some(DatabaseUrlError::Memory));
        assert_eq!(error("sqlite:b?synchronous=off"), Some(DatabaseUrlError::Parameters));
        let shown = format!("{:?}", "postgres://u:canary@h/db".parse::<DatabaseUrl>());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
