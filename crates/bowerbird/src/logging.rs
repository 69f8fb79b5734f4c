//! Logging, to standard error. Lines are escaped by the formatter, so that a handle cannot forge one. Spans of traces are
//! not for the log: they exist only where a collector wants them.

use bowerbird_core::SPANS;
use bowerbird_events::SpanLayer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{ConfigError, LogFormat, Settings};

/// Installs the subscriber for the whole process; with the layer of the traces, if there are to be some.
pub(crate) fn install(settings: &Settings, traces: Option<SpanLayer>) -> Result<(), ConfigError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| ConfigError::named("BOWERBIRD_LOG", error.to_string()))?;
    // Whatever the level: nothing but the collector makes a request pay for its span.
    let no_spans = format!("{SPANS}=off").parse();
    let filter = filter.add_directive(no_spans.map_err(|_| ConfigError::named("BOWERBIRD_LOG", "it is not usable"))?);
    // A second installation (tests in one process) keeps the first.
    let _already = match traces {
        None => {
            let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            match settings.log_format {
                LogFormat::Text => builder.with_ansi(false).try_init(),
                LogFormat::Json => builder.json().flatten_event(true).try_init(),
            }
        }
        Some(traces) => {
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            let lines = match settings.log_format {
                LogFormat::Text => lines.with_ansi(false).boxed(),
                LogFormat::Json => lines.json().flatten_event(true).boxed(),
            };
            let traces = traces.with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO));
            Registry::default().with(lines.with_filter(filter)).with(traces).try_init().map_err(Into::into)
        }
    };
    Ok(())
}
