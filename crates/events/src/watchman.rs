//! The watch over this instance: what no single event says, told once when it begins and once when it ends; and the
//! counting of what is stored.

use std::time::Duration;

use bowerbird_core::ports::{AccountEvent, AccountEventKind, Incident, IncidentSubject, StoreError, UntoldAccess};
use bowerbird_vault::{Suspension, Vault};

use crate::report::Report;
use crate::teller::{Entry, Recorded, Voice};

/// How often the vault is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row at which answers are unsaved before that is told: a database that hiccups is no incident.
const UNSAVED_LOOKS: u32 = 3;
/// How often stored things are counted, at most.
const COUNT: Duration = Duration::from_mins(1);
/// Counting takes at most one part in this many of the time.
const COUNT_SHARE: u32 = 100;
/// Webhooks that are older than this are removed: their address was taken out of the configuration.
const WEBHOOK_LIFE_SECONDS: i64 = 7 * 86_400;

/// Accesses that are looked up at once when nobody told of them.
const UNTOLD: u32 = 100;

const SUSPENDED: IncidentSubject = IncidentSubject::Installation("suspended");

impl Voice {
    /// Looks at the vault, for ever.
    pub(crate) async fn watch(&self, vault: &Vault) {
        let mut seen = Seen::default();
        loop {
            let health = vault.health();
            self.look_at_suspension(&mut seen, health.suspended).await;
            self.look_at_unsaved(&mut seen, health.unsaved).await;
            self.metrics.set_health(&health, self.streams.count());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look_at_suspension(&self, seen: &mut Seen, suspended: Option<Suspension>) {
        if seen.looked && seen.suspended == suspended {
            return;
        }
        let first = !std::mem::replace(&mut seen.looked, true);
        seen.suspended = suspended;
        if let Some(reason) = suspended {
            let report = self.of_installation("refreshing_suspended", Some(reason.code()), reason.explanation());
            let since = self.ports.clock.now();
            let (kind, reason) = ("refreshing_suspended", reason.code());
            self.tell(&report, &Entry::Opens(Incident { subject: SUSPENDED, kind, reason, since })).await;
            return;
        }
        let report = self.of_installation("refreshing_resumed", None, "Access is renewed again.");
        let entry = if first { Entry::ClosesLeftover(SUSPENDED) } else { Entry::Closes(SUSPENDED) };
        if self.tell(&report, &entry).await == Recorded::Unknown {
            // Asked again at the next look.
            seen.looked = false;
        }
    }

    /// Most likely the store is what is away, and this is sent from memory.
    async fn look_at_unsaved(&self, seen: &mut Seen, unsaved: usize) {
        if unsaved == 0 {
            if std::mem::take(&mut seen.unsaved_looks) >= UNSAVED_LOOKS {
                let report = self.of_installation("answers_saved", None, "Every renewed access is stored.");
                self.tell(&report, &Entry::Passing).await;
            }
            return;
        }
        seen.unsaved_looks = seen.unsaved_looks.saturating_add(1);
        if seen.unsaved_looks == UNSAVED_LOOKS {
            let message = "The database does not take renewed tokens. They exist in this process: do not kill it, \
                           and bring the database back.";
            let report = self.of_installation("unsaved_answers", None, message);
            self.tell(&report, &Entry::Passing).await;
        }
    }

    fn of_installation(&self, kind: &'static str, reason: Option<&'static str>, message: &'static str) -> Report {
        Report::of_installation(self.fresh_id(), self.ports.clock.now(), kind, reason, message, &self.instance)
    }

    /// Counts what is stored, for ever; rarely, since it walks over every credential.
    pub(crate) async fn count(&self) {
        loop {
            let began = self.ports.clock.monotonic();
            self.look_at_the_stores().await;
            if let Err(error) = self.tell_untold().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "whether everything was told is not known");
            }
            let took = self.ports.clock.monotonic().saturating_sub(began);
            tokio::time::sleep(COUNT.max(took * COUNT_SHARE)).await;
        }
    }

    /// Tells what somebody wrote into a row and did not live to tell, or had too much to tell at once.
    async fn tell_untold(&self) -> Result<(), StoreError> {
        loop {
            let untold = self.ports.stores.alerts.untold(UNTOLD).await?;
            let mut told = false;
            for UntoldAccess { account, connection, reason } in untold {
                let kind = reason.map_or(AccountEventKind::Recovered, AccountEventKind::NeedsReauth);
                let event = AccountEvent { at: self.ports.clock.now(), account, connection, kind };
                told |= self.tell_event(event).await == Recorded::News;
            }
            if !told {
                return Ok(());
            }
        }
    }

    async fn look_at_the_stores(&self) {
        let stores = &self.ports.stores;
        let now = self.ports.clock.now();
        let counted = async {
            stores.alerts.purge(now.plus_seconds(-WEBHOOK_LIFE_SECONDS)).await?;
            if self.counts {
                let census = stores.alerts.census(now).await?;
                let by_key = stores.credentials.count_by_client_key().await?;
                self.metrics.set_census(now, &census, &by_key);
                self.metrics.set_waiting(stores.alerts.waiting(u32::MAX).await?);
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = counted.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "credentials could not be counted");
        }
    }
}

/// What was there at the last look.
#[derive(Default)]
struct Seen {
    /// Whether there was one that counts.
    looked: bool,
    suspended: Option<Suspension>,
    unsaved_looks: u32,
}
