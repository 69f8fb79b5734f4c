//! The figures of this instance, for Prometheus. Labels are codes of ours, ids of client keys, which are public, and addresses of
//! apps as they are configured: never an account, a handle or a host.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::Timestamp;
use bowerbird_core::ports::{CensusEntry, CountedState, RefreshResult, TokenAge};
use bowerbird_vault::{Suspension, VaultHealth};
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::checkout_seconds::CheckoutSeconds;
use crate::report::EVENT_TYPES;
use crate::traces::SpanCounts;

/// The content type of [`Metrics::render`].
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const REFRESH_SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];

/// The figures. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    /// Held while several figures change together, and while they are read.
    registry: Mutex<Registry>,
    refreshes: Family<Label, Counter>,
    refresh_seconds: Histogram,
    checkout_seconds: CheckoutSeconds,
    nonce_retries: Counter,
    events: Family<Label, Counter>,
    events_dropped: Counter,
    webhooks: Family<Label, Counter>,
    webhooks_waiting: Gauge,
    streams: Gauge,
    in_flight: Gauge,
    unsaved: Gauge,
    draining: Gauge,
    suspended: Family<Label, Gauge>,
    credentials: Family<Labels, Gauge>,
    ages: Family<Label, Gauge>,
    oldest: Family<Label, Gauge>,
    client_keys: Family<[(&'static str, String); 1], Gauge>,
    counted_at: Gauge,
    older_contract: Family<[(&'static str, String); 1], Counter>,
}

/// What became of an attempt to send a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebhookFate {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Failed,
    /// It is not tried again.
    GivenUp,
    /// It was not stored, since too many wait.
    Dropped,
}

impl WebhookFate {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::GivenUp, Self::Dropped];

    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

impl Metrics {
    pub(crate) fn new(version: &'static str) -> Self {
        let figures = Figures {
            registry: Mutex::new(Registry::with_prefix("bowerbird")),
            refreshes: Family::default(),
            refresh_seconds: Histogram::new(REFRESH_SECONDS),
            checkout_seconds: CheckoutSeconds::default(),
            nonce_retries: Counter::default(),
            events: Family::default(),
            events_dropped: Counter::default(),
            webhooks: Family::default(),
            webhooks_waiting: Gauge::default(),
            streams: Gauge::default(),
            in_flight: Gauge::default(),
            unsaved: Gauge::default(),
            draining: Gauge::default(),
            suspended: Family::default(),
            credentials: Family::default(),
            ages: Family::default(),
            oldest: Family::default(),
            client_keys: Family::default(),
            counted_at: Gauge::default(),
            older_contract: Family::default(),
        };
        figures.register(version);
        figures.begin_at_zero();
        Self(Arc::new(figures))
    }

    /// Adds what becomes of spans, where they are sent somewhere.
    pub fn add_spans(&self, counts: &SpanCounts) {
        let mut registry = self.0.registry.lock();
        registry.register("spans", "Spans of requests that were traced, by what became of them", counts.0.clone());
    }

    /// Everything as text, with the vault's health as it is now and the number of its checkouts from memory.
    pub fn render(&self, health: &VaultHealth, streams: usize, from_memory: u64) -> String {
        self.set_health(health, streams);
        self.0.checkout_seconds.set_from_memory(from_memory);
        let mut text = String::new();
        let registry = self.0.registry.lock();
        // Writing to a String cannot fail.
        if encode(&mut text, &registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        text
    }

    pub(crate) fn refresh_ended(&self, result: RefreshResult, took: Duration) {
        self.0.refreshes.get_or_create(&[("result", result.name())]).inc();
        self.0.refresh_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn checkout_stored(&self, took: Duration) {
        self.0.checkout_seconds.observe(took);
    }

    pub(crate) fn nonce_retried(&self) {
        self.0.nonce_retries.inc();
    }

    pub(crate) fn event_told(&self, kind: &'static str) {
        self.0.events.get_or_create(&[("type", kind)]).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.0.events_dropped.inc();
    }

    pub(crate) fn webhook(&self, fate: WebhookFate) {
        self.0.webhooks.get_or_create(&[("outcome", fate.name())]).inc();
    }

    /// A session was put into an address of the configuration, as the older contract of apps has it.
    pub fn session_in_address(&self, address: &str) {
        self.0.older_contract.get_or_create(&[("address", address.to_owned())]).inc();
    }

    /// The same, before it happened: the figure begins at zero.
    pub fn expect_session_in_address(&self, address: &str) {
        drop(self.0.older_contract.get_or_create(&[("address", address.to_owned())]));
    }

    pub(crate) fn set_waiting(&self, waiting: u64) {
        self.0.webhooks_waiting.set(signed(waiting));
    }

    pub(crate) fn set_health(&self, health: &VaultHealth, streams: usize) {
        let figures = &self.0;
        figures.in_flight.set(signed(health.in_flight));
        figures.unsaved.set(signed(health.unsaved));
        figures.draining.set(i64::from(health.draining));
        figures.streams.set(signed(streams));
        for reason in SUSPENSIONS {
            let applies = health.suspended == Some(reason);
            figures.suspended.get_or_create(&[("reason", reason.code())]).set(i64::from(applies));
        }
    }

    pub(crate) fn set_census(&self, now: Timestamp, census: &[CensusEntry], by_key: &[(Option<String>, u64)]) {
        let figures = &self.0;
        // Nobody reads half of a count.
        let _registry = figures.registry.lock();
        figures.credentials.clear();
        figures.client_keys.clear();
        figures.ages.clear();
        figures.oldest.clear();
        figures.begin_counts_at_zero();
        for entry in census {
            let reason = if let CountedState::NeedsReauth(reason) = entry.state { reason.code() } else { "" };
            let state = entry.state.name();
            let labels = [("state", state), ("reason", reason)];
            figures.credentials.get_or_create(&labels).inc_by(signed(entry.number));
            figures.ages.get_or_create(&[("age", entry.age.name())]).inc_by(signed(entry.number));
            let oldest = figures.oldest.get_or_create(&[("state", state)]);
            oldest.set(oldest.get().max(now.millis_since(entry.oldest).max(0) / 1000));
        }
        for (key, number) in by_key {
            let key = key.clone().unwrap_or_else(|| "none".to_owned());
            figures.client_keys.get_or_create(&[("client_key", key)]).set(signed(*number));
        }
        figures.counted_at.set(now.as_seconds());
    }
}

/// Every reason, so that each has a figure before it first applies.
const SUSPENSIONS: [Suspension; 4] =
    [Suspension::RestoredBackup, Suspension::CopiedDatabase, Suspension::DamagedDatabase, Suspension::Operator];

impl Figures {
    fn register(&self, version: &'static str) {
        let mut registry = self.registry.lock();
        let to = &mut *registry;
        to.register("build", "The version of the program", Info::new([("version", version)]));
        to.register("refreshes", "Refreshes that ended, by outcome", self.refreshes.clone());
        to.register(
            "refresh_duration_seconds",
            "Time of a refresh, waiting for its turn included",
            self.refresh_seconds.clone(),
        );
        to.register(
            "checkout_duration_seconds",
            "Time until an access token was handed out; one from memory counts in the first bucket, and adds nothing to the sum",
            self.checkout_seconds.clone(),
        );
        to.register("dpop_nonce_retries", "Requests sent again with another DPoP nonce", self.nonce_retries.clone());
        to.register("events", "Events that were told, by type", self.events.clone());
        to.register("events_dropped", "Events that were lost because too many waited", self.events_dropped.clone());
        to.register("webhook_attempts", "Attempts to send a webhook, by outcome", self.webhooks.clone());
        to.register("webhooks_waiting", "Webhooks that wait to be sent, all instances", self.webhooks_waiting.clone());
        to.register("event_streams", "Clients that follow events", self.streams.clone());
        to.register("refreshes_in_flight", "Refreshes under way", self.in_flight.clone());
        to.register("unsaved_answers", "Renewed tokens that the database has not taken", self.unsaved.clone());
        to.register("draining", "1 while no refresh is started because the server stops", self.draining.clone());
        to.register("refreshing_suspended", "1 for the reason why no refresh is started", self.suspended.clone());
        to.register("credentials", "Stored credentials, by state and reason", self.credentials.clone());
        to.register("credentials_by_age", "Stored credentials, by age of their tokens", self.ages.clone());
        to.register("credential_oldest_age_seconds", "Age of the oldest tokens, by state", self.oldest.clone());
        to.register("sessions", "Live grants, by the client key they are bound to", self.client_keys.clone());
        to.register(
            "older_contract_sign_ins",
            "Sign-ins that put a session into the address of an app, by address as configured",
            self.older_contract.clone(),
        );
        to.register("counted_timestamp_seconds", "When stored things were last counted", self.counted_at.clone());
    }

    /// A figure that appears with its first event has no increase for Prometheus to alert on.
    fn begin_at_zero(&self) {
        for result in RefreshResult::ALL {
            drop(self.refreshes.get_or_create(&[("result", result.name())]));
        }
        for kind in EVENT_TYPES {
            drop(self.events.get_or_create(&[("type", kind)]));
        }
        for fate in WebhookFate::ALL {
            drop(self.webhooks.get_or_create(&[("outcome", fate.name())]));
        }
        self.begin_counts_at_zero();
    }

    fn begin_counts_at_zero(&self) {
        for state in ["ok", "refreshing", "unknown"] {
            drop(self.credentials.get_or_create(&[("state", state), ("reason", "")]));
        }
        for reason in bowerbird_core::NeedsReauth::ALL {
            drop(self.credentials.get_or_create(&[("state", "needs_reauth"), ("reason", reason.code())]));
        }
        for age in TokenAge::ALL {
            drop(self.ages.get_or_create(&[("age", age.name())]));
        }
        for state in ["ok", "refreshing", "unknown", "needs_reauth"] {
            drop(self.oldest.get_or_create(&[("state", state)]));
        }
    }
}

fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bowerbird_core::NeedsReauth;

    use super::*;

    const QUIET: VaultHealth = VaultHealth { unsaved: 0, in_flight: 0, draining: false, suspended: None };

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|known| known == line), "no `{line}` in\n{text}");
    }

    #[test]
    fn everything_is_there_before_anything_happened() {
        let text = Metrics::new("1.2.3").render(&QUIET, 0, 0);
        has(&text, "bowerbird_build_info{version=\"1.2.3\"} 1");
        for result in RefreshResult::ALL {
            has(&text, &format!("bowerbird_refreshes_total{{result=\"{}\"}} 0", result.name()));
        }
        has(&text, "bowerbird_events_total{type=\"needs_reauth\"} 0");
        has(&text, "bowerbird_webhook_attempts_total{outcome=\"given_up\"} 0");
        has(&text, "bowerbird_refreshing_suspended{reason=\"restored_backup\"} 0");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new("1.2.3");
        metrics.refresh_ended(RefreshResult::Refused, Duration::from_millis(300));
        metrics.refresh_ended(RefreshResult::Granted, Duration::from_millis(30));
        metrics.checkout_stored(Duration::from_micros(200));
        metrics.checkout_stored(Duration::from_secs(7));
        metrics.nonce_retried();
        metrics.event_told("needs_reauth");
        metrics.event_dropped();
        metrics.expect_session_in_address("limit://auth");
        metrics.session_in_address("app://auth-callback");
        metrics.webhook(WebhookFate::Failed);
        metrics.set_waiting(7);
        let health =
            VaultHealth { unsaved: 2, in_flight: 3, draining: true, suspended: Some(Suspension::RestoredBackup) };
        let text = metrics.render(&health, 4, 1_000);
        for line in [
            "bowerbird_refreshes_total{result=\"refused\"} 1",
            "bowerbird_refresh_duration_seconds_count 2",
            "bowerbird_refresh_duration_seconds_bucket{le=\"0.05\"} 1",
            "bowerbird_checkout_duration_seconds_bucket{le=\"0.00005\"} 1000",
            "bowerbird_checkout_duration_seconds_bucket{le=\"0.0001\"} 1000",
            "bowerbird_checkout_duration_seconds_bucket{le=\"0.00025\"} 1001",
            "bowerbird_checkout_duration_seconds_bucket{le=\"+Inf\"} 1002",
            "bowerbird_checkout_duration_seconds_count 1002",
            "bowerbird_checkout_duration_seconds_sum 7.0002",
            "bowerbird_dpop_nonce_retries_total 1",
            "bowerbird_events_total{type=\"needs_reauth\"} 1",
            "bowerbird_events_dropped_total 1",
            "bowerbird_older_contract_sign_ins_total{address=\"app://auth-callback\"} 1",
            "bowerbird_older_contract_sign_ins_total{address=\"limit://auth\"} 0",
            "bowerbird_webhook_attempts_total{outcome=\"failed\"} 1",
            "bowerbird_webhooks_waiting 7",
            "bowerbird_unsaved_answers 2",
            "bowerbird_refreshes_in_flight 3",
            "bowerbird_draining 1",
            "bowerbird_event_streams 4",
            "bowerbird_refreshing_suspended{reason=\"restored_backup\"} 1",
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn a_count_replaces_the_one_before() {
        let metrics = Metrics::new("1.2.3");
        let now = Timestamp::from_seconds(1_767_225_600);
        let entry =
            |state, age, number, seconds: i64| CensusEntry { state, age, number, oldest: now.plus_seconds(-seconds) };
        let need = CountedState::NeedsReauth(NeedsReauth::Revoked);
        let first = [
            entry(CountedState::Ok, TokenAge::UnderHour, 5, 60),
            entry(CountedState::Ok, TokenAge::UnderDay, 2, 7200),
            entry(need, TokenAge::UnderDay, 1, 9000),
        ];
        metrics.set_census(now, &first, &[(None, 3), (Some("key-1".to_owned()), 4)]);
        let text = metrics.render(&QUIET, 0, 0);
        for line in [
            "bowerbird_credentials{state=\"ok\",reason=\"\"} 7",
            "bowerbird_credentials{state=\"needs_reauth\",reason=\"revoked\"} 1",
            "bowerbird_credentials{state=\"needs_reauth\",reason=\"scope_lost\"} 0",
            "bowerbird_credentials_by_age{age=\"under_1d\"} 3",
            "bowerbird_credential_oldest_age_seconds{state=\"ok\"} 7200",
            "bowerbird_sessions{client_key=\"none\"} 3",
            "bowerbird_sessions{client_key=\"key-1\"} 4",
        ] {
            has(&text, line);
        }
        metrics.set_census(now, &[], &[]);
        let text = metrics.render(&QUIET, 0, 0);
        has(&text, "bowerbird_credentials{state=\"ok\",reason=\"\"} 0");
        assert!(!text.contains("key-1"), "a key that is gone has no figure");
    }
}
