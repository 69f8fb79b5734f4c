//! Reads the environment and the configuration file, once.

use std::collections::HashMap;
use std::path::Path;

use crate::cli::{Flags, Global};
use crate::commands::Failure;
use crate::config::{ConfigError, Settings, Values};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "bowerbird.toml";

/// The environment, as it was when the process began.
pub(crate) struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the whole environment; names and values that are not Unicode are left out.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(crate) fn read() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(unicode).collect())
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Whether a variable is set to something.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_empty())
    }
}

/// The configuration, raw and typed.
pub(crate) struct Loaded {
    pub(crate) values: Values,
    pub(crate) settings: Settings,
}

/// Gathers and checks the configuration.
pub(crate) fn load(global: &Global, flags: &Flags, environment: &Environment) -> Result<Loaded, Failure> {
    let file = read_file(global.config.as_deref())?;
    let file = file.as_ref().map(|(path, text)| (path.as_path(), text.clone()));
    let values = Values::gather(&|variable| flags.get(variable), &|name| environment.get(name), file)?;
    let settings = Settings::from_values(&values)?;
    Ok(Loaded { values, settings })
}

fn read_file(named: Option<&Path>) -> Result<Option<(std::path::PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(ConfigError::File { path: path.to_owned(), source: Box::new(error) }),
    }
}
