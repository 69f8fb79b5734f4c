//! Before a refresh token is sent once more after an unknown outcome: whoever sent it first may have its successor still.

use std::time::Duration;

use bowerbird_core::CredentialRecord;
use bowerbird_core::ports::{AccessProbe, Cas, SpillEntry};

use super::run::{Intent, Run, Step, duration_millis};
use super::{Delay, FlightEnd, Later};
use crate::grants::OpenedGrant;
use crate::suspension::Suspension;

/// Before a token is sent once more after an unknown outcome, whoever sent it first gets a last chance to store its
/// successor: longer than the interval at which that one tries (see `persist.rs`). After an outage of the database
/// both of them come back at once.
const LATE_HOLDER_GRACE: Duration = Duration::from_secs(2);
/// So many seconds more, with a look at the row after each, when the server says that the token was spent: then there is
/// a successor, and somebody may have it. The fence allows 45 s after the intent.
const SPENT_TOKEN_LOOKS: usize = 28;
/// A look that takes longer says how it was and not how it is.
const LOOK_TAKES: Duration = Duration::from_secs(1);
/// A look into the spills that fails is taken again so often, after a pause: most of what keeps a file from being read goes by.
const BLIND_LOOKS: u32 = 5;
const BLIND_PAUSE: Duration = Duration::from_secs(1);
/// Tries to store what was found in a spill, with pauses that double.
const STORE_ATTEMPTS: usize = 4;
const STORE_PAUSE: Duration = Duration::from_millis(100);
/// Asking with the old access token may take this long.
const PROBE_TAKES: Duration = Duration::from_secs(10);

/// What a look into the spills came to, when no answer is in them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    /// Some could not be read.
    Blind,
}

impl Run<'_> {
    /// Before a token is sent once more. Our intent is written, so that nobody else starts; a commit needs the generation
    /// only, so that whoever holds the successor still gets in: from the spill of a process that died, or by itself.
    pub(super) async fn wait_for_a_late_holder(&self, record: &CredentialRecord, grant: &OpenedGrant) -> Step<()> {
        self.look_for_the_answer().await?;
        let spent = self.probe(record, grant).await == AccessProbe::Refused;
        tokio::time::sleep(LATE_HOLDER_GRACE).await;
        self.read().await?;
        for _ in 0..if spent { SPENT_TOKEN_LOOKS } else { 0 } {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.read().await?;
        }
        Ok(())
    }

    /// Looks as late as can be before a token is sent once more. This process may have been stopped since it looked last, and
    /// the late holder not: so a look counts only if it took no time, and is tried for as long as the lease allows.
    ///
    /// What is written down after this look comes from a process that was out of reach for long: the lease of whoever sent
    /// before us was over when our intent was written, and by the fence its answer was there, or had failed, fifteen
    /// seconds before. A process that runs has written it down at once. One that was stopped with the answer in its socket, and
    /// goes on between this look and our first byte, can be seen by nobody.
    pub(super) async fn look_right_before(&self, intent: &Intent) -> Step<()> {
        let mut blind = 0;
        while self.lease_suffices(intent) {
            let begun = self.monotonic();
            let look = self.look_for_the_answer().await?;
            if look == Look::Blind && blind < BLIND_LOOKS {
                blind += 1;
                tokio::time::sleep(BLIND_PAUSE).await;
            } else if self.monotonic().saturating_sub(begun) < LOOK_TAKES {
                break;
            }
        }
        Ok(())
    }

    /// Looks into the spills of all processes on the same folder, and then at the row; in this order, since an answer goes from
    /// the spill into the row, and is settled only then. One of a process that died may be about to be stored by another that has
    /// just taken its file; one of a living process may have been waiting since it was stopped or lost the database. The comparison
    /// of generations makes it harmless to store what its holder stores as well. It stays the holder's to settle, and what
    /// belongs to another grant is the holder's to tell of.
    async fn look_for_the_answer(&self) -> Step<Look> {
        let looked = self.vault.0.surroundings.spill.everywhere(self.connection).await;
        let row = self.read().await?;
        let entries = match looked {
            Ok(entries) => entries,
            Err(error) => {
                // Whatever is in there is out of reach; without a way on, the credential would stay in doubt for good.
                let error = &error as &dyn std::error::Error;
                tracing::warn!(connection = %self.connection, error, "the spill could not be looked at");
                return Ok(Look::Blind);
            }
        };
        let of_grant = |entry: &&SpillEntry| entry.granted == row.fields.granted_generation;
        // The answer that is the furthest; several for one generation only where a server repeats it.
        match entries.iter().rev().find(of_grant) {
            Some(entry) if entry.seen == self.seen => Err(self.store_the_answer(&row, entry).await),
            // The row was there once, and is not any more: it was restored under us, and its token is spent.
            Some(entry) if entry.seen > self.seen => {
                self.vault.suspend(Suspension::RestoredBackup);
                Err(FlightEnd::Later(Later::because(Delay::Suspended)))
            }
            _ => Ok(Look::Nothing),
        }
    }

    /// The successor is in hand: whatever the store makes of it, the token before it must not be sent. Where the store does
    /// not take it now, it waits in its spill for the next attempt, and for whoever takes over what the dead left.
    async fn store_the_answer(&self, row: &CredentialRecord, entry: &SpillEntry) -> FlightEnd {
        let mut wait = STORE_PAUSE;
        for _ in 0..STORE_ATTEMPTS {
            match self.vault.store_spilled(row, entry).await {
                // By us, or by somebody who was faster.
                Ok(Cas::Done | Cas::Stale) => return FlightEnd::Changed,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(connection = %self.connection, error, "renewed tokens from a spill file are not stored yet; nothing is sent");
                }
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        FlightEnd::Later(Later::because(Delay::Unsaved))
    }

    /// Whether the earlier refresh happened, as far as the old access token tells.
    async fn probe(&self, record: &CredentialRecord, grant: &OpenedGrant) -> AccessProbe {
        // One that has ended is refused in any case.
        if record.tokens.access_expires_at <= self.now().plus_millis(duration_millis(PROBE_TAKES)) {
            return AccessProbe::Silent;
        }
        let asked = self.vault.0.refresher.probe(grant.facts(), grant.access_token.clone());
        let probe = tokio::time::timeout(PROBE_TAKES, asked).await.unwrap_or(AccessProbe::Silent);
        if probe != AccessProbe::Silent {
            tracing::info!(connection = %self.connection, probe = probe.name(), "the old access token was tried before the refresh token is sent again");
        }
        self.vault.0.surroundings.observer.probed(probe);
        probe
    }
}
