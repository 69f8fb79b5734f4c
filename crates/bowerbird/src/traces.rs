//! Traces of requests: from the configuration to a task that sends them.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_events::{Metrics, SpanExporter, SpanLayer, TracesConfig};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::commands::Failure;
use crate::compose::{configuration, instance, net_config};
use crate::config::{self, Collector};
use crate::load::Loaded;

/// What sends spans, before it does.
pub(crate) struct Spans {
    exporter: SpanExporter,
    http: Arc<NetClient>,
}

/// What sends spans, at it.
pub(crate) struct SendingSpans {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Makes the layer that collects spans and what sends them, if a collector is configured.
pub(crate) fn prepare(loaded: &Loaded) -> Result<Option<(SpanLayer, Spans)>, Failure> {
    let Some(collector) = config::collector(&loaded.values)? else { return Ok(None) };
    let Collector { endpoint, host_and_port, headers, service_name, sampler } = collector;
    let clock = Arc::new(SystemClock::new());
    // A client of its own: the collector is most likely in a private network, and that its address is allowed here must
    // not lead anybody else there.
    let allowed = vec![host_and_port.parse().map_err(configuration)?];
    let net = NetConfig { egress_allow: allowed, ..net_config(&loaded.settings)? };
    let http = NetClient::new(net, Arc::clone(&clock) as _).map_err(configuration)?;
    let config = TracesConfig {
        endpoint,
        headers,
        service_name,
        instance: instance(),
        version: env!("CARGO_PKG_VERSION"),
        sampler,
    };
    let (layer, exporter) = bowerbird_events::traces(config, clock, Arc::new(OsEntropy));
    Ok(Some((layer, Spans { exporter, http })))
}

impl Spans {
    /// Sends spans from now on.
    pub(crate) fn start(self, metrics: &Metrics) -> SendingSpans {
        metrics.add_spans(&self.exporter.counts());
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // A sender that is gone says the same.
            let _gone = stopped.await;
        };
        SendingSpans { task: tokio::spawn(self.exporter.run(self.http, stopped)), stop }
    }
}

impl SendingSpans {
    /// Sends what is left, for at most so long.
    pub(crate) async fn stop(self, at_most: Duration) {
        let Self { mut task, stop } = self;
        if stop.send(()).is_err() {
            return;
        }
        if tokio::time::timeout(at_most, &mut task).await.is_err() {
            tracing::warn!("stopped before every span was sent");
            task.abort();
        }
    }
}
