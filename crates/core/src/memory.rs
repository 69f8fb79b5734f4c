//! Stores in memory: for Rust developers who keep no database, for tools, and for tests.
