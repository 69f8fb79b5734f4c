//! Signed webhooks, in the form of Standard Webhooks: stored before they are sent, tried again for about forty hours,
//! sent by one instance at a time.

mod schedule;
mod sending;
mod signature;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::NoticeId;
use bowerbird_core::Timestamp;
use bowerbird_core::ports::{Entropy, NewDelivery};
use http::Uri;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::schedule::asked_pause;
pub use self::signature::{WebhookSecret, WebhookSecretError};
use crate::hub::HubPorts;
use crate::metrics::{Metrics, WebhookFate};
use crate::report::Report;

/// Webhooks that may wait, for all addresses together.
const QUEUE: u32 = 10_000;
/// Webhooks that are sent from memory, while the store is away.
const FROM_MEMORY: usize = 32;

/// Where webhooks go, and what is told there.
#[derive(Default)]
pub struct WebhookConfig {
    /// The addresses.
    pub addresses: Vec<Uri>,
    /// What signs, newest first; every one of them signs.
    pub secrets: Vec<WebhookSecret>,
    /// The types of events that are sent.
    pub types: Vec<String>,
}

/// The sender. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Inner>);

struct Inner {
    endpoints: Vec<Endpoint>,
    secrets: Vec<WebhookSecret>,
    types: Vec<String>,
    ports: HubPorts,
    metrics: Metrics,
    from_memory: Arc<Semaphore>,
}

struct Endpoint {
    /// Names it in logs, from 1.
    number: usize,
    /// Names it in the store.
    key: String,
    address: Uri,
    /// Something was stored for it.
    woken: Notify,
}

impl Webhooks {
    pub(crate) fn new(config: WebhookConfig, ports: &HubPorts, metrics: Metrics) -> Self {
        let WebhookConfig { addresses, secrets, types } = config;
        let endpoint =
            |(number, address): (usize, Uri)| Endpoint { number, key: key_of(&address), address, woken: Notify::new() };
        let endpoints = (1..).zip(addresses).map(endpoint).collect();
        let from_memory = Arc::new(Semaphore::new(FROM_MEMORY));
        Self(Arc::new(Inner { endpoints, secrets, types, ports: ports.clone(), metrics, from_memory }))
    }

    /// Whether anybody is told of this type of event.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        !self.0.endpoints.is_empty() && self.0.types.iter().any(|wanted| wanted == kind)
    }

    /// What is to be stored so that each address is told; nothing when too many wait already.
    pub(crate) async fn deliveries(&self, report: &Report, now: Timestamp, entropy: &dyn Entropy) -> Vec<NewDelivery> {
        let endpoints = &self.0.endpoints;
        // When the store does not say, whoever is to be told is told.
        let waiting = self.0.ports.stores.alerts.waiting(QUEUE).await.unwrap_or_default();
        if waiting >= u64::from(QUEUE) {
            for _ in endpoints {
                self.0.metrics.webhook(WebhookFate::Dropped);
            }
            tracing::error!(kind = report.kind, waiting, "a webhook is dropped, too many wait");
            return Vec::new();
        }
        let (message, body) = (format!("evt_{}", report.id), report.to_json());
        let delivery = |endpoint: &Endpoint| NewDelivery {
            id: NoticeId::random(entropy).to_string(),
            endpoint: endpoint.key.clone(),
            message: message.clone(),
            body: body.clone(),
            account: report.account_id,
            created_at: now,
        };
        endpoints.iter().map(delivery).collect()
    }

    /// Something was stored.
    pub(crate) fn wake(&self) {
        for endpoint in &self.0.endpoints {
            endpoint.woken.notify_one();
        }
    }
}

/// The address may hold a secret, so its digest names it.
fn key_of(address: &Uri) -> String {
    let digest = Sha256::digest(address.to_string().as_bytes());
    URL_SAFE_NO_PAD.encode(&digest[..16])
}
