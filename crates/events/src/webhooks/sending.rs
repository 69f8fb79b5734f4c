//! Sending what is stored: one loop for each address, so that a receiver that is down holds up no other.

use std::time::Duration;

use bowerbird_core::Timestamp;
use bowerbird_core::ports::{Cas, ClaimedDelivery, NewDelivery, Purpose, StoreError};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};

use super::schedule::{asked_pause, pause_after};
use super::signature::header;
use super::{Endpoint, Webhooks};
use crate::metrics::WebhookFate;

/// Nobody else sends a claimed webhook for this long; an attempt takes at most [`Purpose::deadline`] of it.
const LEASE_SECONDS: i64 = 60;
/// Webhooks that are sent to one address at once.
const AT_ONCE: u32 = 4;
/// How often to look for what others left, at least.
const LOOK: Duration = Duration::from_secs(5);
/// Attempts of what is sent from memory: it does not outlive the process, so it need not wait for long.
const ATTEMPTS_FROM_MEMORY: u32 = 5;

/// How an attempt ended.
enum Attempt {
    Delivered,
    /// The receiver says that it wants none of this any more.
    Gone,
    Failed {
        why: String,
        asked: Option<Duration>,
    },
}

impl Webhooks {
    /// Sends what is stored, for ever.
    pub(crate) async fn run(&self) {
        futures_util::future::join_all(self.0.endpoints.iter().map(|endpoint| self.serve(endpoint))).await;
    }

    async fn serve(&self, endpoint: &Endpoint) {
        loop {
            let wait = match self.round(endpoint).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::debug!(webhook = endpoint.number, %error, "stored webhooks could not be read");
                    LOOK
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = endpoint.woken.notified() => {}
            }
        }
    }

    /// Sends what is due; gives how long nothing is.
    async fn round(&self, endpoint: &Endpoint) -> Result<Duration, StoreError> {
        let alerts = &self.0.ports.stores.alerts;
        loop {
            // Reading is cheaper than claiming: mostly nothing is due.
            let now = self.0.ports.clock.now();
            match alerts.next_due(&endpoint.key).await? {
                None => return Ok(LOOK),
                Some(due) if due > now => {
                    let millis = due.millis_since(now).unsigned_abs();
                    return Ok(Duration::from_millis(millis).min(LOOK));
                }
                Some(_) => {}
            }
            let claimed = alerts.claim(&endpoint.key, now, now.plus_seconds(LEASE_SECONDS), AT_ONCE).await?;
            let sending = claimed.iter().map(|delivery| self.send_claimed(endpoint, delivery));
            futures_util::future::join_all(sending).await;
        }
    }

    async fn send_claimed(&self, endpoint: &Endpoint, claimed: &ClaimedDelivery) {
        let attempt = self.attempt(endpoint, &claimed.message, &claimed.body).await;
        let alerts = &self.0.ports.stores.alerts;
        let written = match self.verdict(endpoint, &claimed.message, claimed.attempts, attempt) {
            None => alerts.settle(claimed).await,
            Some(pause) => alerts.postpone(claimed, later(self.0.ports.clock.now(), pause)).await,
        };
        match written {
            Ok(Cas::Done) => {}
            Ok(Cas::Stale) => tracing::debug!(webhook = endpoint.number, "a webhook was taken over while it was sent"),
            // It comes back when the claim ends; the receiver can tell by its id.
            Err(error) => tracing::warn!(webhook = endpoint.number, %error, "what became of a webhook was not stored"),
        }
    }

    /// Counts and logs an attempt; gives the pause until the next one, if there is one.
    fn verdict(&self, endpoint: &Endpoint, message: &str, attempts: u32, attempt: Attempt) -> Option<Duration> {
        let (webhook, metrics) = (endpoint.number, &self.0.metrics);
        let (why, pause) = match attempt {
            Attempt::Delivered => {
                metrics.webhook(WebhookFate::Delivered);
                tracing::debug!(webhook, message, attempts, "a webhook was delivered");
                return None;
            }
            Attempt::Gone => ("410 Gone".to_owned(), None),
            Attempt::Failed { why, asked } => (why, pause_after(attempts, asked, self.0.ports.entropy.as_ref())),
        };
        if let Some(pause) = pause {
            metrics.webhook(WebhookFate::Failed);
            tracing::info!(webhook, message, attempts, why, ?pause, "a webhook failed and is tried again");
        } else {
            metrics.webhook(WebhookFate::GivenUp);
            tracing::error!(webhook, message, attempts, why, "a webhook is given up");
        }
        pause
    }

    async fn attempt(&self, endpoint: &Endpoint, message: &str, body: &str) -> Attempt {
        let now = self.0.ports.clock.now();
        let Some(request) = self.request(endpoint, message, body, now) else {
            return Attempt::Failed { why: "it could not be written".to_owned(), asked: None };
        };
        match self.0.ports.http.send(request, Purpose::Webhook).await {
            Ok(answer) if answer.status().is_success() => Attempt::Delivered,
            Ok(answer) if answer.status() == StatusCode::GONE => Attempt::Gone,
            Ok(answer) => Attempt::Failed {
                why: format!("status {}", answer.status().as_u16()),
                asked: asked_pause(answer.headers(), self.0.ports.clock.now()),
            },
            Err(error) => Attempt::Failed { why: error.to_string(), asked: None },
        }
    }

    fn request(&self, endpoint: &Endpoint, message: &str, body: &str, now: Timestamp) -> Option<Request<Bytes>> {
        let seconds = now.as_seconds();
        let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.address.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", HeaderValue::from_str(message).ok()?);
        headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        let signature = header(&self.0.secrets, message, seconds, body);
        headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
        Some(request)
    }

    /// Sends what could not be stored; for as long as this process lives.
    pub(crate) fn send_from_memory(&self, deliveries: Vec<NewDelivery>) {
        for delivery in deliveries {
            let Ok(place) = self.0.from_memory.clone().try_acquire_owned() else {
                self.0.metrics.webhook(WebhookFate::Dropped);
                tracing::error!(message = delivery.message, "a webhook is dropped, the store is away and many wait");
                continue;
            };
            let webhooks = self.clone();
            tokio::spawn(async move {
                webhooks.send_unstored(&delivery).await;
                drop(place);
            });
        }
    }

    async fn send_unstored(&self, delivery: &NewDelivery) {
        let Some(endpoint) = self.0.endpoints.iter().find(|known| known.key == delivery.endpoint) else { return };
        for attempts in 1..=ATTEMPTS_FROM_MEMORY {
            let attempt = self.attempt(endpoint, &delivery.message, &delivery.body).await;
            match self.verdict(endpoint, &delivery.message, attempts, attempt) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return,
            }
        }
    }
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.plus_millis(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}
