//! Logging, to standard error. Lines are escaped by the formatter, so that a handle cannot forge one.

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, Settings};

/// Installs the subscriber for the whole process.
pub(crate) fn install(settings: &Settings) -> Result<(), ConfigError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| ConfigError::named("BOWERBIRD_LOG", error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second installation (tests in one process) keeps the first.
    let _already = match settings.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
