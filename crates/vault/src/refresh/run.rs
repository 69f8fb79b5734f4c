//! One refresh, from the row to the row.
//!
//! ```text
//! read row ─▶ open ─▶ prepare ─▶ write intent ─▶ send once ─▶ classify ─▶ write outcome
//!             └── nothing was sent: stop at will ──┘          └── a crash from here on leaves the intent ──┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{
    BegunRefresh, BoxError, Cas, LeaseRequest, PreparedRefresh, RefreshOutcome, RefreshRefusal,
};
use bowerbird_core::refresh::{LEASE_SECONDS, QUIET_SECONDS, RefreshDecision, decide};
use bowerbird_core::{
    ConnectionId, CredentialRecord, CredentialState, Generation, NeedsReauth, Schedule, Secret, Timestamp,
};

use super::persist::Successor;
use super::single_flight::Flight;
use super::{Delay, FlightEnd, Later};
use crate::Vault;
use crate::envelope::SealingKey;
use crate::grants::{OpenError, OpenedGrant};

/// Sends within one run, when the issuer certainly did not consume the token.
const ATTEMPTS: usize = 2;
/// With less than this left of the lease, nothing is sent any more: the answer may take 60 s, and by the lease's end
/// it must be here.
const LEASE_RESERVE_SECONDS: u64 = 75;
/// Everything before the intent may take this long.
const PREPARATION_SECONDS: u64 = 30;
/// Before a token is sent once more after an unknown outcome, whoever sent it first gets a last chance to store its
/// successor: longer than the interval at which that one tries (see `persist.rs`). After an outage of the database
/// both of them come back at once.
const LATE_HOLDER_GRACE: Duration = Duration::from_secs(2);
/// A change of state that the store refuses is tried this often. Losing it is harmless: the intent stays in the row,
/// and whoever comes after the quiet time goes on from there.
const STATE_ATTEMPTS: u32 = 4;
/// So much of a refresh token in an issuer's words keeps them out of the log.
const QUOTED_BYTES: usize = 12;

/// Ends the run early.
type Step<T> = Result<T, FlightEnd>;

/// Refreshes the credential of a connection if its row still has the generation that the caller saw.
pub(super) async fn refresh(vault: &Vault, flight: &Flight, connection: ConnectionId, seen: Generation) -> FlightEnd {
    let run = Run { vault, flight, connection, seen };
    run.steps().await.unwrap_or_else(|end| end)
}

pub(super) struct Run<'a> {
    pub(super) vault: &'a Vault,
    pub(super) flight: &'a Flight,
    pub(super) connection: ConnectionId,
    pub(super) seen: Generation,
}

/// What the intent stands on.
struct Intent {
    at: Timestamp,
    /// Monotonic time before the intent was written: the lease cannot have begun earlier.
    begun: Duration,
    /// The state that the row goes back to when the token was certainly not consumed.
    restore: CredentialState,
    /// Whether an earlier attempt with this token has an unknown outcome.
    recovering: bool,
}

impl Run<'_> {
    async fn steps(&self) -> Step<FlightEnd> {
        // The semaphore is never closed, so that this cannot fail.
        let _permit = self.vault.0.permits.acquire().await.map_err(|_| later(Delay::Draining))?;
        self.not_draining()?;
        let record = self.read().await?;
        self.check_state(&record)?;
        let (grant, key) = self.open(&record).await?;
        let Some(refresh_token) = grant.refresh_token.clone() else {
            return self.needs_reauth(NeedsReauth::NoRefreshToken).await;
        };
        let mut prepared = match self.prepare(&grant).await {
            Ok(prepared) => prepared,
            Err(refusal) => return self.refused_to_prepare(refusal).await,
        };
        // The preparation may have taken long; see below.
        self.not_draining()?;
        let intent = self.begin().await?;
        if intent.recovering {
            // Our intent is written, so that nobody else starts; a commit needs the generation only, so that a holder
            // who is late still gets in.
            tokio::time::sleep(LATE_HOLDER_GRACE).await;
            self.read().await?;
        }

        let mut attempt = 1;
        loop {
            // Asked again before every send: what is sent now is answered within a minute, and whoever stops this process
            // waits a little longer than that. What was begun later would be cut off.
            if let Err(draining) = self.not_draining() {
                self.set_state(&intent.restore).await;
                return Err(draining);
            }
            if !self.lease_suffices(&intent) {
                self.set_state(&intent.restore).await;
                return Err(self.postpone(None, Delay::SlowIntent.into()));
            }
            let sent_at = self.now();
            let (not_before, source) = match prepared.send(refresh_token.clone()).await {
                RefreshOutcome::Granted { tokens, fault } => {
                    let successor = Successor { record, grant, key, tokens, fault, sent_at };
                    return Ok(self.persist(successor).await);
                }
                RefreshOutcome::Refused { description } => {
                    let description = description.filter(|text| !quotes(text, &refresh_token));
                    return self.refused(&intent, description).await;
                }
                RefreshOutcome::Unknown { source } => return Err(self.unknown(&intent, source).await),
                RefreshOutcome::NotConsumed { not_before, source } => (not_before, source),
            };
            if attempt == ATTEMPTS || not_before.is_some_and(|at| at > self.now()) {
                self.set_state(&intent.restore).await;
                return Err(self.postpone(not_before, source));
            }
            attempt += 1;
            // A fresh preparation: proof and client assertion may be used once only.
            prepared = match self.prepare(&grant).await {
                Ok(prepared) => prepared,
                Err(refusal) => {
                    self.set_state(&intent.restore).await;
                    return self.refused_to_prepare(refusal).await;
                }
            };
        }
    }

    fn not_draining(&self) -> Step<()> {
        if self.vault.is_draining() { Err(later(Delay::Draining)) } else { Ok(()) }
    }

    /// Reads the row anew: since the caller looked, another instance or a login may have written.
    async fn read(&self) -> Step<CredentialRecord> {
        let record = self.vault.0.credentials.find(self.connection).await.map_err(later)?.ok_or(FlightEnd::Gone)?;
        if record.generation == self.seen { Ok(record) } else { Err(FlightEnd::Changed) }
    }

    /// Whether a send may follow at all, by the row.
    fn check_state(&self, record: &CredentialRecord) -> Step<()> {
        if let CredentialState::NeedsReauth(reason) = record.state {
            return Err(FlightEnd::Reauth(reason));
        }
        let in_doubt = !matches!(record.state, CredentialState::Ok);
        let tokens = &record.tokens;
        let decision = decide(
            &record.state,
            tokens.issued_at,
            tokens.access_expires_at,
            tokens.refresh_token.is_some(),
            self.now(),
        );
        if in_doubt && decision != RefreshDecision::Recover { Err(FlightEnd::Changed) } else { Ok(()) }
    }

    async fn open(&self, record: &CredentialRecord) -> Step<(OpenedGrant, Arc<SealingKey>)> {
        self.vault.open_record_and_key(record).await.map_err(|error| match error {
            // Not written into the row: with the right key back, it opens again.
            OpenError::Unreadable(_) => FlightEnd::Reauth(NeedsReauth::Unreadable),
            OpenError::Store(error) => later(error),
            OpenError::DataKey(error) => later(error),
        })
    }

    /// Step 0: whatever can fail before the refresh token is touched. Nothing is sent yet, so that giving up is safe.
    async fn prepare(&self, grant: &OpenedGrant) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        let preparation = self.vault.0.refresher.prepare(grant.facts());
        tokio::time::timeout(Duration::from_secs(PREPARATION_SECONDS), preparation)
            .await
            .unwrap_or_else(|_| Err(RefreshRefusal::NotNow(Delay::SlowPreparation.into())))
    }

    async fn refused_to_prepare(&self, refusal: RefreshRefusal) -> Step<FlightEnd> {
        match refusal {
            RefreshRefusal::NotNow(source) => Err(self.postpone(None, source)),
            RefreshRefusal::Final(reason) => self.needs_reauth(reason).await,
        }
    }

    /// Step 1: lease and intent in one durable update. Without the row in hand, nobody sends.
    async fn begin(&self) -> Step<Intent> {
        let begun = self.vault.0.clock.monotonic();
        let at = self.now();
        let lease = LeaseRequest { owner: &self.vault.0.config.instance, now: at, seconds: LEASE_SECONDS };
        let begun_refresh = self.vault.0.credentials.begin_refresh(self.connection, self.seen, lease).await;
        let BegunRefresh { before, intent_at: at, .. } = begun_refresh.map_err(later)?.ok_or(FlightEnd::Changed)?;
        let (restore, recovering) = match before.state {
            // Whoever wrote the earlier intent may have sent; that stays unknown until an issuer speaks about the
            // token itself.
            CredentialState::Refreshing { intent_at, .. } | CredentialState::Unknown { intent_at } => {
                (CredentialState::Unknown { intent_at }, true)
            }
            CredentialState::Ok | CredentialState::NeedsReauth(_) => (CredentialState::Ok, false),
        };
        Ok(Intent { at, begun, restore, recovering })
    }

    /// Step 2: by the monotonic clock, since the wall clock may have been moved.
    fn lease_suffices(&self, intent: &Intent) -> bool {
        let elapsed = self.vault.0.clock.monotonic().saturating_sub(intent.begun);
        let lease = Duration::from_secs(LEASE_SECONDS.unsigned_abs());
        lease.saturating_sub(elapsed) >= Duration::from_secs(LEASE_RESERVE_SECONDS)
    }

    /// `invalid_grant`, about this very token.
    async fn refused(&self, intent: &Intent, description: Option<String>) -> Step<FlightEnd> {
        // Somebody may have been faster: an old answer must not condemn a newer grant.
        self.read().await?;
        let reason = if intent.recovering { NeedsReauth::LostResponse } else { NeedsReauth::Revoked };
        tracing::warn!(connection = %self.connection, reason = reason.code(), description, "the issuer refused the refresh token");
        self.needs_reauth(reason).await
    }

    /// The worst case: the token may be spent. It stays where it is, and is sent once more after the quiet time.
    ///
    /// "Once more" means one send per recovery, and not one recovery. When that send ends unknown as well (a 503 again,
    /// another lost connection), nothing was learned about the token, and to give up would end the sign-in of everybody
    /// whose refresh fell into an outage of their server. So the next lease holder asks again: never within the quiet
    /// time of the newest intent, which is in the row, and after pauses that double up to a quarter of an hour, which
    /// are kept in memory; a restart, or another instance, falls back to the quiet time alone. Sending it again makes
    /// nothing worse: either the token was never used, and still works; or it was, its successor is lost with the
    /// answer, and there is nothing left that a replay could end but the old access token.
    ///
    /// Only a definite answer decides: new tokens are stored, `invalid_grant` is a lost response (see `refused`).
    /// "Certainly not consumed" says nothing about the send before it, so that the row goes back to the older doubt.
    async fn unknown(&self, intent: &Intent, source: BoxError) -> FlightEnd {
        self.set_state(&CredentialState::Unknown { intent_at: intent.at }).await;
        let quiet = intent.at.plus_seconds(QUIET_SECONDS);
        let until = self.vault.0.postponed.in_doubt(self.connection, self.now(), quiet);
        tracing::warn!(connection = %self.connection, error = %source, "the outcome of a refresh is unknown");
        FlightEnd::Later(Later::at(until, source))
    }

    fn postpone(&self, asked: Option<Timestamp>, source: BoxError) -> FlightEnd {
        let until = self.vault.0.postponed.failed(self.connection, self.now(), asked);
        FlightEnd::Later(Later::at(until, source))
    }

    async fn needs_reauth(&self, reason: NeedsReauth) -> Step<FlightEnd> {
        match self.set_state(&CredentialState::NeedsReauth(reason)).await {
            Some(Cas::Stale) => Err(FlightEnd::Changed),
            // Even when the store did not take it, this is what the issuer said.
            Some(Cas::Done) | None => Err(FlightEnd::Reauth(reason)),
        }
    }

    /// Writes a state; None when the store took it in none of several tries.
    async fn set_state(&self, state: &CredentialState) -> Option<Cas> {
        for attempt in 0..STATE_ATTEMPTS {
            match self.vault.0.credentials.set_state(self.connection, self.seen, state, Schedule::default()).await {
                Ok(cas) => {
                    self.vault.0.opened.forget(self.connection);
                    return Some(cas);
                }
                Err(error) => {
                    tracing::warn!(connection = %self.connection, error = &error as &dyn std::error::Error, "a state was not stored");
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                }
            }
        }
        None
    }

    pub(super) fn now(&self) -> Timestamp {
        self.vault.0.clock.now()
    }
}

/// Whether an issuer's words, which are for the log, contain the token that was sent, or a good part of it: they may have
/// been cut in its middle.
fn quotes(words: &str, token: &Secret) -> bool {
    let token = token.expose().as_bytes();
    match token.len() {
        0 => false,
        short @ 1..QUOTED_BYTES => words.as_bytes().windows(short).any(|part| part == token),
        _ => token.windows(QUOTED_BYTES).any(|part| words.as_bytes().windows(QUOTED_BYTES).any(|other| other == part)),
    }
}

fn later(source: impl Into<BoxError>) -> FlightEnd {
    FlightEnd::Later(Later::because(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_quote_the_token_are_noticed_even_when_they_were_cut() {
        let token = Secret::new("ref-0123456789abcdef0123456789abcdef");
        for words in [
            "no grant for ref-0123456789abcdef0123456789abcdef",
            "no grant for ref-01234567",
            "...abcdef012345",
            "ref-0123456789abcdef0123456789abcdef",
        ] {
            assert!(quotes(words, &token), "{words}");
        }
        for words in ["", "Refresh token replayed", "ref-0123456", "no such ref-0123x56789"] {
            assert!(!quotes(words, &token), "{words}");
        }
        assert!(quotes("unknown: rt-7", &Secret::new("rt-7")));
        assert!(!quotes("unknown", &Secret::new("")));
    }
}
