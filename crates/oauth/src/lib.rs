//! The OAuth protocol as AT Protocol servers speak it, pure: requests out, responses in.

mod secret;
mod time;

pub use secret::{Secret, SecretBytes};
pub use time::Timestamp;
