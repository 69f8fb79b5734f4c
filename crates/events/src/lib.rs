//! What happens to the access of accounts, told to people and machines.
//!
//! ```text
//! vault ─▶ EventHub (never blocks) ─▶ queue ─▶ Teller ─┬─▶ incident and webhooks, in one step of the store
//!                 └─▶ Metrics                          ├─▶ log
//!                                                      └─▶ EventStreams, here and (by the change feed) elsewhere
//! ```
//!
//! Beside it, `traces` tells how long what took, request by request, where an OpenTelemetry collector is configured.
//!
//! One alert of an incident, one event of its recovery: the store knows what is open, so that neither a second instance
//! nor a restart repeats it.

mod checkout_seconds;
mod hub;
mod metrics;
mod report;
mod streams;
mod teller;
mod traces;
mod watchman;
mod webhooks;

pub use hub::{EventHub, HubConfig, HubPorts};
pub use metrics::{METRICS_TYPE, Metrics};
pub use report::{EVENT_TYPES, Report};
pub use streams::{EventStreams, StreamRefusal, StreamedEvent, Subscription};
pub use teller::Teller;
pub use traces::{Sampler, SamplerError, SpanCounts, SpanExporter, SpanLayer, TracesConfig, traces};
pub use webhooks::{WebhookConfig, WebhookSecret, WebhookSecretError};
