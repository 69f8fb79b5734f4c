//! The truth: SQLite and PostgreSQL stores.
