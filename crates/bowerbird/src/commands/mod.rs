//! One file per command. A command returns an exit code, or a failure with a hint.

pub(crate) mod accounts;
pub(crate) mod backup;
pub(crate) mod config_show;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod import_hono;
pub(crate) mod keys;
pub(crate) mod keys_give_up;
pub(crate) mod keys_move;
pub(crate) mod keys_rotate;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod tokens;

use crate::config::ConfigError;

/// Exit code for something that the person asked for and cannot be had.
pub(crate) const USER: u8 = 1;
/// Exit code for a misused command line.
pub(crate) const USAGE: u8 = 2;
/// Exit code for a configuration that cannot be used.
pub(crate) const CONFIG: u8 = 3;
/// Exit code for a failure of ours (`EX_SOFTWARE` of sysexits).
pub(crate) const INTERNAL: u8 = 70;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<dyn std::error::Error + Send + Sync>,
    pub(crate) hint: Option<String>,
    pub(crate) code: u8,
}

impl Failure {
    /// The person asked for something that cannot be had.
    pub(crate) fn user(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: message.into(), hint: None, code: USER }
    }

    /// Something here failed.
    pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hint: None, code: INTERNAL }
    }

    /// Adds what to do.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            error: Box::new(error),
            hint: Some("`bowerbird config show` lists every variable".to_owned()),
            code: CONFIG,
        }
    }
}
