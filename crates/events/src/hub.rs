//! Where the vault's news arrive: a queue and some counters, so that the vault never waits for whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{
    AccountEvent, Change, ChangeFeed, ChangeListener, Clock, Entropy, HttpClient, Observer, RefreshResult, Stores,
};
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::report::Report;
use crate::streams::EventStreams;
use crate::teller::{Teller, Voice};
use crate::webhooks::{WebhookConfig, Webhooks};

/// Events that wait to be told. More are dropped, and counted.
const QUEUE: usize = 4_096;

/// What a hub is told about its installation.
pub struct HubConfig {
    /// The address of this server, without a slash at its end; for repair links.
    pub origin: String,
    /// Names this instance.
    pub instance: String,
    /// The version of the program.
    pub version: &'static str,
    /// Where webhooks go.
    pub webhooks: WebhookConfig,
    /// Whether somebody reads the metrics: only then is it worth a walk over every credential.
    pub counts: bool,
}

/// What a hub works with.
#[derive(Clone)]
pub struct HubPorts {
    /// Incidents, webhooks, accounts and counts.
    pub stores: Stores,
    /// Sends webhooks.
    pub http: Arc<dyn HttpClient>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Tells followers at other instances.
    pub changes: Arc<dyn ChangeFeed>,
}

/// Hears what the vault tells. Cheap to clone.
#[derive(Clone)]
pub struct EventHub(Arc<Inner>);

struct Inner {
    queue: mpsc::Sender<AccountEvent>,
    pending: Arc<AtomicUsize>,
    metrics: Metrics,
    streams: EventStreams,
}

impl EventHub {
    /// Makes a hub, and the one who tells what it hears; [`Teller::run`] must be running for anything to be told.
    pub fn new(config: HubConfig, ports: HubPorts) -> (Self, Teller) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (metrics, streams) = (Metrics::new(config.version), EventStreams::default());
        let pending = Arc::<AtomicUsize>::default();
        let elsewhere = Elsewhere { streams: streams.clone(), origin: config.origin.clone() };
        ports.changes.listen(Arc::new(elsewhere));
        let webhooks = Webhooks::new(config.webhooks, &ports, metrics.clone());
        let voice = |outgoing| Voice {
            origin: config.origin,
            instance: config.instance,
            webhooks,
            metrics: metrics.clone(),
            streams: streams.clone(),
            ports,
            counts: config.counts,
            outgoing,
        };
        let teller = Teller::new(events, Arc::clone(&pending), voice);
        (Self(Arc::new(Inner { queue, pending, metrics, streams })), teller)
    }

    /// The figures.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The followers.
    pub fn streams(&self) -> &EventStreams {
        &self.0.streams
    }

    /// Waits until everything that was heard is told, at most `deadline`: before a stop.
    pub async fn settle(&self, deadline: Duration) {
        let told = async {
            while self.0.pending.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(deadline, told).await.is_err() {
            tracing::warn!(left = self.0.pending.load(Ordering::Acquire), "stopped before every event was told");
        }
    }
}

impl Observer for EventHub {
    fn event(&self, event: &AccountEvent) {
        self.0.pending.fetch_add(1, Ordering::AcqRel);
        if self.0.queue.try_send(event.clone()).is_err() {
            self.0.pending.fetch_sub(1, Ordering::AcqRel);
            self.0.metrics.event_dropped();
            tracing::warn!(account = %event.account, connection = %event.connection, kind = event.kind.name(), "an event was dropped, too many wait");
        }
    }

    fn refresh_ended(&self, result: RefreshResult, took: Duration) {
        self.0.metrics.refresh_ended(result, took);
    }

    fn checkout_stored(&self, took: Duration) {
        self.0.metrics.checkout_stored(took);
    }

    fn nonce_retry(&self) {
        self.0.metrics.nonce_retried();
    }
}

/// Hears what other instances told their followers.
struct Elsewhere {
    streams: EventStreams,
    origin: String,
}

impl ChangeListener for Elsewhere {
    fn changed(&self, change: &Change) {
        if let Change::Notice(notice) = change {
            self.streams.publish(&Report::of_access(notice, &self.origin));
        }
    }

    fn missed(&self) {}
}
