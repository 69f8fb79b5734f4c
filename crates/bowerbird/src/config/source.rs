//! Where values come from: flags over environment over `bowerbird.toml` over defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::variables::{VARIABLES, Variable};

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A command-line flag.
    Flag,
    /// The environment.
    Environment,
    /// The configuration file.
    File(PathBuf),
    /// The built-in default.
    Default,
}

impl Origin {
    /// A short name for messages and tables.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Environment => "environment".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Default => "default".to_owned(),
        }
    }
}

/// The raw values by variable name.
#[derive(Debug, Default)]
pub(crate) struct Values(BTreeMap<&'static str, (String, Origin)>);

impl Values {
    /// Reads every source. `flags` and `environment` look a name up; `file` is the configuration file, which must exist
    /// only when it was named explicitly.
    pub(crate) fn gather(
        flags: &dyn Fn(&Variable) -> Option<String>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<(&Path, String)>,
    ) -> Result<Self, ConfigError> {
        let mut from_file = file.map(|(path, text)| parse_file(path, &text)).transpose()?.unwrap_or_default();
        let mut values = BTreeMap::new();
        for variable in VARIABLES {
            let in_environment = || environment(variable.name).or_else(|| environment(variable.alias?));
            let found = flags(variable)
                .map(|value| (value, Origin::Flag))
                .or_else(|| in_environment().map(|value| (value, Origin::Environment)))
                .or_else(|| from_file.remove(variable.name))
                .or_else(|| variable.default.map(|value| (value.to_owned(), Origin::Default)));
            // An empty value means "not set": compose files and shells set variables to nothing all the time.
            if let Some((value, origin)) = found.filter(|(value, _)| !value.trim().is_empty()) {
                values.insert(variable.name, (value.trim().to_owned(), origin));
            }
        }
        Ok(Self(values))
    }

    /// The value of a variable, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str())
    }

    /// Where the value was found.
    pub(crate) fn origin(&self, name: &str) -> Option<&Origin> {
        self.0.get(name).map(|(_, origin)| origin)
    }

    /// The comma-separated parts of a value, empty ones dropped.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
    }
}

fn parse_file(path: &Path, text: &str) -> Result<BTreeMap<&'static str, (String, Origin)>, ConfigError> {
    let table: toml::Table =
        text.parse().map_err(|source| ConfigError::File { path: path.to_owned(), source: Box::new(source) })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(variable) = VARIABLES.iter().find(|variable| variable.key() == key) else {
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key });
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(parts) => {
                let part = |part: &toml::Value| part.as_str().map(str::to_owned);
                let parts: Option<Vec<String>> = parts.iter().map(part).collect();
                parts.ok_or_else(|| ConfigError::invalid(variable, "a list may hold texts only"))?.join(",")
            }
            other => other.to_string(),
        };
        values.insert(variable.name, (text, Origin::File(path.to_owned())));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(flag: Option<&str>, env: Option<&str>, file: Option<&str>) -> Result<Values, ConfigError> {
        Values::gather(
            &|variable| flag.filter(|_| variable.name == "BOWERBIRD_LISTEN").map(str::to_owned),
            &|name| env.filter(|_| name == "BOWERBIRD_LISTEN").map(str::to_owned),
            file.map(|text| (Path::new("bowerbird.toml"), text.to_owned())),
        )
    }

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let file = Some("listen = \"f\"");
        let value = |values: Values| values.get("BOWERBIRD_LISTEN").map(str::to_owned);
        assert_eq!(gather(Some("a"), Some("e"), file).map(value).ok().flatten().as_deref(), Some("a"));
        assert_eq!(gather(None, Some("e"), file).map(value).ok().flatten().as_deref(), Some("e"));
        assert_eq!(gather(None, None, file).map(value).ok().flatten().as_deref(), Some("f"));
        assert_eq!(gather(None, None, None).map(value).ok().flatten().as_deref(), Some("127.0.0.1:8080"));
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(
            matches!(gather(None, None, Some("lissten = \"x\"")), Err(ConfigError::UnknownKey { key, .. }) if key == "lissten")
        );
        assert!(matches!(gather(None, None, Some("listen = ")), Err(ConfigError::File { .. })));
    }

    #[test]
    fn the_other_name_of_the_encryption_key_works() {
        let values = Values::gather(&|_| None, &|name| (name == "TOKEN_ENCRYPTION_KEY").then(|| "k".to_owned()), None);
        assert_eq!(
            values.ok().and_then(|v| v.get("BOWERBIRD_ENCRYPTION_KEY").map(str::to_owned)).as_deref(),
            Some("k")
        );
    }
}
