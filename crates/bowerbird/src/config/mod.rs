//! Configuration: read once, checked whole, then passed down as plain values.

mod encryption_keys;
mod keyring_keys;
mod mobile;
mod secrets;
mod settings;
mod source;
mod traces;
mod variables;
mod webhooks;

use std::path::PathBuf;

pub(crate) use encryption_keys::{EncryptionKeys, key_text, new_key};
pub(crate) use keyring_keys::{KEYRING_NAME, read_entry, write_entry};
pub(crate) use secrets::{
    add_cookie_secret, client_keys, cookie_secrets, generate_text_secret, not_shared, replace_private, write_private,
};
pub(crate) use settings::{ExposeTokens, LogFormat, Settings};
pub(crate) use source::{Origin, Values};
pub(crate) use traces::{Collector, collector};
pub(crate) use variables::{VARIABLES, Variable};
pub(crate) use webhooks::{admin_token, webhooks};

/// A configuration that cannot be used. Every message names the variable and what to write instead; none shows a
/// secret's value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The configuration file is not TOML, or cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The configuration file names a variable that does not exist.
    #[error("{} has an unknown key `{key}`; `bowerbird config show` lists the known ones", path.display())]
    UnknownKey { path: PathBuf, key: String },
    /// A value is not of its form.
    #[error("{name} is not usable: {problem}")]
    Invalid { name: &'static str, problem: String },
    /// A secret is missing where none may be made.
    #[error(
        "{name} is not set, and {base_url} is not a loopback address; make one with `bowerbird keys generate {kind}` and set it"
    )]
    MissingSecret { name: &'static str, kind: &'static str, base_url: String },
    /// A secret could not be read or made in the data folder.
    #[error("the key file {} cannot be used", path.display())]
    KeyFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The keyring, or what is in its entry, cannot be used.
    #[error("the keyring entry `{entry}` cannot be used: {advice}")]
    Keyring {
        entry: String,
        advice: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keyring opens, and has no such entry.
    #[error(
        "the keyring has no entry `{entry}`; `bowerbird keys to-keyring {entry}` puts the key there, from the file or the variable that held it; nothing was changed"
    )]
    KeyringEntry { entry: String },
}

impl ConfigError {
    pub(crate) fn invalid(variable: &Variable, problem: impl Into<String>) -> Self {
        Self::Invalid { name: variable.name, problem: problem.into() }
    }

    pub(crate) fn named(name: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { name, problem: problem.into() }
    }
}
