//! Traces: what a request did and for how long, as spans, sent to an OpenTelemetry collector (OTLP over HTTP, protobuf).
//!
//! ```text
//! tracing spans (target SPANS) ─▶ SpanLayer ─▶ bounded queue ─▶ SpanExporter ─▶ collector
//! ```
//!
//! The rooms below make spans with `tracing` and know nothing of this. Without a configured collector the layer is not
//! installed and no span is made. The layer never waits: a queue that is full costs spans, not requests.
//!
//! Written here instead of taken from the OpenTelemetry SDK, for three reasons: only what is listed in
//! [`ATTRIBUTES`](span::ATTRIBUTES) can leave, whatever a span is given; nothing is read from the environment behind the
//! configuration's back; and requests go through the one HTTP client. The tests read the result with the types that
//! OpenTelemetry publishes.

mod exporter;
mod layer;
mod otlp;
mod sampler;
mod span;

use std::sync::Arc;

use bowerbird_core::ports::{Clock, Entropy};
use http::{HeaderMap, Uri};
use tokio::sync::mpsc;

pub use exporter::{SpanCounts, SpanExporter};
pub use layer::SpanLayer;
pub use sampler::{Sampler, SamplerError};

/// Spans that wait to be sent, less than 10 MB. More are dropped, and counted.
const QUEUE: usize = 4_096;

/// Where spans go, and which.
pub struct TracesConfig {
    /// Where they are sent, path included.
    pub endpoint: Uri,
    /// What every request to it carries, such as a key; secret.
    pub headers: HeaderMap,
    /// The name of this service among others.
    pub service_name: String,
    /// Names this instance.
    pub instance: String,
    /// The version of the program.
    pub version: &'static str,
    /// Which requests are traced.
    pub sampler: Sampler,
}

/// Makes the layer that collects spans, and the exporter that sends them once somebody runs it.
pub fn traces(config: TracesConfig, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> (SpanLayer, SpanExporter) {
    let (queue, spans) = mpsc::channel(QUEUE);
    let counts = SpanCounts::default();
    let layer = SpanLayer::new(config.sampler, queue, counts.clone(), Arc::clone(&clock), Arc::clone(&entropy));
    (layer, SpanExporter::new(config, spans, counts, clock, entropy))
}

#[cfg(test)]
mod tests;
