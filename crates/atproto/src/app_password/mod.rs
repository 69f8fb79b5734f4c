//! Accounts that sign in with an app password, beside those that sign in with OAuth.
//!
//! | file | what it holds |
//! |---|---|
//! | `sign_in.rs` | from what a person typed to a stored session |
//! | `session_call.rs` | `createSession`, `refreshSession` and `deleteSession` on the wire |
//! | `claims.rs` | what an access token says about itself: its kind, and its life |
//! | `refresh.rs` | renewing a session, for the vault |
//! | `error.rs` | why a sign-in did not succeed |
//!
//! The rules: a password goes to the server that the account's DID document names and to nobody else, once, and is kept
//! nowhere. A session whose password was the account's main one is ended at once.

mod claims;
mod error;
mod refresh;
mod session_call;
mod sign_in;

pub use error::AppPasswordError;
pub(crate) use refresh::prepare;
pub(crate) use session_call::{bearer, delete_session};
pub use sign_in::{AppPasswordLogin, AppPasswords, AtHome};
