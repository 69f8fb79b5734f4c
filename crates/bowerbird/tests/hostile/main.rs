//! The attack and fault catalogue through the whole program: a server process on a network of fault servers. Each test
//! says what was answered, and what was not sent.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod alerts;
mod clocks;
mod damaged_database;
mod first_start;
mod full_disk;
mod hostile_http;
mod older_contract;
mod opened;
mod pace;
mod refresh_faults;
mod restored_backup;
mod rows_flood;
mod rows_handoff;
mod rows_hostile_servers;
mod rows_keys;
mod rows_leakage;
mod rows_login;
mod rows_passwords;
mod rows_proxy;
mod rows_sessions;
mod streaming;
mod support;
mod tokens_command;
mod traces;
