//! Tells what was heard: decides whether it is news, stores what is to be sent, then log and streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{
    AccountEvent, AccountEventKind, AccountNotice, Cas, Change, Incident, IncidentSubject, NewDelivery, StoreError,
};
use bowerbird_core::{NoticeId, SecurityEvent, SecurityEventKind};
use bowerbird_vault::Vault;
use tokio::sync::mpsc;

use crate::hub::HubPorts;
use crate::metrics::Metrics;
use crate::report::Report;
use crate::streams::EventStreams;
use crate::webhooks::Webhooks;

/// How often the store is asked before an event is told without it.
const STORE_ATTEMPTS: u32 = 6;
/// The first pause between two attempts; each is twice as long as the one before, 3.1 s in all.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Notices that wait to be told to other instances. More are dropped: their followers read how things stand now and then.
const OUTGOING: usize = 1_024;

/// What to write down about an event.
pub(crate) enum Entry {
    /// An incident begins.
    Opens(Incident),
    /// An incident ends.
    Closes(IncidentSubject),
    /// One that may have been left open by an earlier process ends: told only when the store knows of it.
    ClosesLeftover(IncidentSubject),
    /// Neither.
    Passing,
}

/// Whether an event is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It is, and what is to be sent is stored.
    News,
    /// It was told before, or is about nobody any more.
    Known,
    /// The store did not answer, and it is not told.
    Unknown,
    /// The store did not answer: told rather twice than never, and sent from memory.
    Unrecorded,
}

/// The one who tells. Run it for as long as the vault works.
pub struct Teller {
    events: mpsc::Receiver<AccountEvent>,
    pending: Arc<AtomicUsize>,
    notices: mpsc::Receiver<AccountNotice>,
    voice: Voice,
}

/// What telling needs, without the queues; so that the watch over the installation can tell as well.
pub(crate) struct Voice {
    pub(crate) origin: String,
    pub(crate) instance: String,
    pub(crate) webhooks: Webhooks,
    pub(crate) metrics: Metrics,
    pub(crate) streams: EventStreams,
    pub(crate) ports: HubPorts,
    pub(crate) counts: bool,
    /// For other instances.
    pub(crate) outgoing: mpsc::Sender<AccountNotice>,
}

impl Teller {
    /// Tells by a voice what comes from the queue. `voice` makes one for the notices that are to be passed on.
    pub(crate) fn new(
        events: mpsc::Receiver<AccountEvent>,
        pending: Arc<AtomicUsize>,
        voice: impl FnOnce(mpsc::Sender<AccountNotice>) -> Voice,
    ) -> Self {
        let (outgoing, notices) = mpsc::channel(OUTGOING);
        Self { events, pending, notices, voice: voice(outgoing) }
    }

    /// Tells what the hub hears, sends webhooks, watches the vault and counts; never returns.
    pub async fn run(self, vault: Vault) {
        let Self { mut events, pending, mut notices, voice } = self;
        let telling = async {
            while let Some(event) = events.recv().await {
                voice.tell_event(event).await;
                pending.fetch_sub(1, Ordering::AcqRel);
            }
        };
        let passing_on = async {
            while let Some(notice) = notices.recv().await {
                voice.ports.changes.publish(Change::Notice(notice)).await;
            }
        };
        tokio::join!(telling, passing_on, voice.webhooks.run(), voice.watch(&vault), voice.count());
    }
}

impl Voice {
    pub(crate) async fn tell_event(&self, event: AccountEvent) -> Recorded {
        let notice = AccountNotice { id: self.fresh_id(), event };
        let report = Report::of_access(&notice, &self.origin);
        let subject = IncidentSubject::Access(notice.event.connection);
        let entry = match notice.event.kind {
            AccountEventKind::Refreshed => Entry::Passing,
            AccountEventKind::Recovered => Entry::Closes(subject),
            kind => {
                let (kind, reason) = (kind.name(), kind.reason().unwrap_or_default());
                Entry::Opens(Incident { subject, kind, reason, since: notice.event.at })
            }
        };
        let recorded = self.tell(&report, &entry).await;
        if matches!(recorded, Recorded::News | Recorded::Unrecorded) {
            self.note(&notice).await;
        }
        if matches!(recorded, Recorded::News | Recorded::Unrecorded)
            // Full: a courtesy that others can do without.
            && self.outgoing.try_send(notice).is_err()
        {
            tracing::debug!("other instances are not told of an event, too many wait");
        }
        recorded
    }

    /// Writes it into the history of the account. Renewals are no news to a person.
    async fn note(&self, notice: &AccountNotice) {
        let kind = match notice.event.kind {
            AccountEventKind::Refreshed => return,
            AccountEventKind::Recovered => SecurityEventKind::Recovered,
            AccountEventKind::OutcomeUnknown => SecurityEventKind::OutcomeUnknown,
            AccountEventKind::NeedsReauth(reason) => SecurityEventKind::NeedsReauth(reason),
        };
        let (id, account, at) = (notice.id, notice.event.account, notice.event.at);
        let (device_name, by_device) = (String::new(), String::new());
        let entry = SecurityEvent { id, account, at, kind, device_name, by_device };
        if let Err(error) = self.ports.stores.security_events.note(&[entry]).await {
            tracing::warn!(%account, %error, "an event is missing in the account's history");
        }
    }

    /// Tells, if it is news.
    pub(crate) async fn tell(&self, report: &Report, entry: &Entry) -> Recorded {
        let deliveries = self.deliveries(report).await;
        let recorded = self.record(entry, &deliveries).await;
        match recorded {
            Recorded::Known | Recorded::Unknown => return recorded,
            Recorded::News => self.webhooks.wake(),
            Recorded::Unrecorded => self.webhooks.send_from_memory(deliveries),
        }
        self.metrics.event_told(report.kind);
        log(report);
        self.streams.publish(report);
        recorded
    }

    /// One for each address that wants this type of event.
    async fn deliveries(&self, report: &Report) -> Vec<NewDelivery> {
        if !self.webhooks.wants(report.kind) {
            return Vec::new();
        }
        let account = match report.account_id {
            Some(id) => self.ports.stores.accounts.find(id).await.ok().flatten(),
            None => None,
        };
        let named = account.map_or_else(|| report.clone(), |account| report.naming(&account));
        self.webhooks.deliveries(&named, self.ports.clock.now(), self.ports.entropy.as_ref()).await
    }

    async fn record(&self, entry: &Entry, deliveries: &[NewDelivery]) -> Recorded {
        let alerts = &self.ports.stores.alerts;
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=STORE_ATTEMPTS {
            let written = match entry {
                Entry::Opens(incident) => alerts.open(incident, deliveries).await,
                Entry::Closes(subject) | Entry::ClosesLeftover(subject) => alerts.close(subject, deliveries).await,
                Entry::Passing if deliveries.is_empty() => return Recorded::News,
                Entry::Passing => alerts.enqueue(deliveries).await.map(|()| Cas::Done),
            };
            match written {
                Ok(Cas::Done) => return Recorded::News,
                // The account was removed meanwhile.
                Ok(Cas::Stale) | Err(StoreError::Refused(_)) => return Recorded::Known,
                Err(_) if matches!(entry, Entry::ClosesLeftover(_)) => return Recorded::Unknown,
                Err(error) if attempt == STORE_ATTEMPTS => {
                    tracing::error!(error = &error as &dyn std::error::Error, "an event is told without being stored");
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        Recorded::Unrecorded
    }

    pub(crate) fn fresh_id(&self) -> NoticeId {
        NoticeId::random(self.ports.entropy.as_ref())
    }
}

/// One line; its fields are ids and codes.
fn log(report: &Report) {
    let Report { kind, reason, message, .. } = report;
    let (kind, reason) = (*kind, reason.unwrap_or("-"));
    match (report.account_id, report.connection_id) {
        (Some(account), Some(connection)) => match kind {
            "refreshed" => tracing::debug!(%account, %connection, kind, reason, "{message}"),
            "recovered" => tracing::info!(%account, %connection, kind, reason, "{message}"),
            _ => tracing::warn!(%account, %connection, kind, reason, "{message}"),
        },
        _ => match kind {
            "answers_saved" | "refreshing_resumed" => tracing::info!(kind, reason, "{message}"),
            _ => tracing::error!(kind, reason, "{message}"),
        },
    }
}
