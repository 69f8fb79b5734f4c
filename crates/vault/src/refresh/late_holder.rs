//! Before a refresh token is sent once more after an unknown outcome: whoever sent it first may have its successor still.

use std::time::Duration;

use bowerbird_core::CredentialRecord;
use bowerbird_core::ports::AccessProbe;

use super::run::{Intent, Run, Step, duration_millis};
use crate::grants::OpenedGrant;

/// Before a token is sent once more after an unknown outcome, whoever sent it first gets a last chance to store its
/// successor: longer than the interval at which that one tries (see `persist.rs`). After an outage of the database
/// both of them come back at once.
const LATE_HOLDER_GRACE: Duration = Duration::from_secs(2);
/// So many seconds more, with a look at the row after each, when the server says that the token was spent: then there is
/// a successor, and somebody may have it. The fence allows 45 s after the intent.
const SPENT_TOKEN_LOOKS: usize = 28;
/// A look at the row that takes longer says how it was and not how it is.
const LOOK_TAKES: Duration = Duration::from_secs(1);
/// Asking with the old access token may take this long.
const PROBE_TAKES: Duration = Duration::from_secs(10);

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
        // The late holder may have died meanwhile, and its spill is ours to read only since then.
        self.look_for_the_answer().await
    }

    /// Looks at the row as late as can be before a token is sent once more. This process may have been stopped since it
    /// looked last, and the late holder not: so a look counts only if it took no time, and is tried for as long as the lease allows.
    pub(super) async fn look_right_before(&self, intent: &Intent) -> Step<()> {
        while self.lease_suffices(intent) {
            let begun = self.monotonic();
            self.read().await?;
            if self.monotonic().saturating_sub(begun) < LOOK_TAKES {
                break;
            }
            self.look_for_the_answer().await?;
        }
        Ok(())
    }

    /// Looks into the spill of processes that died, and at the row.
    async fn look_for_the_answer(&self) -> Step<()> {
        if let Err(error) = self.vault.take_over().await {
            // Whatever is in there is out of reach; without a way on, the credential would stay in doubt for good.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(connection = %self.connection, error, "the spill could not be looked at");
        }
        self.read().await.map(drop)
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
