//! One refresh, from the row to the row.
//!
//! ```text
//! read row ─▶ turn ─▶ open ─▶ prepare ─▶ write intent ─▶ send once ─▶ classify ─▶ write outcome
//!             └───── nothing was sent: stop at will ─────┘          └── a crash from here on leaves the intent ──┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{
    AccountEventKind, BegunRefresh, BoxError, Cas, LeaseRequest, PreparedRefresh, RefreshOutcome, RefreshRefusal,
    RefreshResult, StoreError,
};
use bowerbird_core::refresh::{LEASE_SECONDS, RefreshDecision, after_doubt, after_failure, decide, pause_until};
use bowerbird_core::{
    ConnectionId, CredentialRecord, CredentialState, Generation, NeedsReauth, RefreshClass, Schedule, Secret, Timestamp,
};
use parking_lot::Mutex;
use tracing::Span;

use super::issuers::{Admission, Permits};
use super::persist::Successor;
use super::single_flight::Flight;
use super::{Delay, FlightEnd, Later, Occasion};
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
/// A row that was read no longer ago is prepared with.
const A_MOMENT: Duration = Duration::from_secs(1);
/// A change of state that the store refuses is tried this often. Losing it is harmless: the intent stays in the row,
/// and whoever comes after the quiet time goes on from there.
const STATE_ATTEMPTS: u32 = 4;
/// So much of a refresh token in an issuer's words keeps them out of the log.
const QUOTED_BYTES: usize = 12;

/// Ends the run early.
pub(super) type Step<T> = Result<T, FlightEnd>;

/// Refreshes the credential of a connection if its row still has the generation that the caller saw.
pub(super) async fn refresh(
    vault: &Vault,
    flight: &Flight,
    connection: ConnectionId,
    seen: Generation,
    occasion: Occasion,
) -> FlightEnd {
    let begun = vault.0.clock.monotonic();
    let swept = matches!(occasion, Occasion::Swept(_));
    let result = Mutex::new(RefreshResult::NotSent);
    let run = Run { vault, flight, connection, seen, swept, result, sent: AtomicBool::new(false) };
    let end = run.steps(occasion).await.unwrap_or_else(|end| end);
    // A row that changed, too: by a clock that is ahead of the database's, a lease may seem over that is not.
    if swept && !matches!(end, FlightEnd::Renewed(_) | FlightEnd::Gone) && !run.sent() {
        vault.0.postponed.swept_in_vain(connection, run.now());
    }
    let took = vault.0.clock.monotonic().saturating_sub(begun);
    let superseded = matches!(end, FlightEnd::Changed | FlightEnd::Gone);
    let result = if superseded { RefreshResult::Superseded } else { *run.result.lock() };
    vault.0.surroundings.observer.refresh_ended(result, took);
    let span = Span::current();
    span.record("outcome", result.name());
    span.record("span.failed", matches!(result, RefreshResult::Unknown | RefreshResult::Quarantined));
    end
}

pub(super) struct Run<'a> {
    pub(super) vault: &'a Vault,
    pub(super) flight: &'a Flight,
    pub(super) connection: ConnectionId,
    pub(super) seen: Generation,
    /// Nobody waits for it.
    pub(super) swept: bool,
    result: Mutex<RefreshResult>,
    sent: AtomicBool,
}

/// What the intent stands on.
pub(super) struct Intent {
    at: Timestamp,
    /// Monotonic time before the intent was written: the lease cannot have begun earlier.
    begun: Duration,
    /// The state that the row goes back to when the token was certainly not consumed.
    restore: CredentialState,
    /// Whether an earlier attempt with this token has an unknown outcome.
    recovering: bool,
    /// The row's schedule, this attempt counted.
    schedule: Schedule,
}

impl Run<'_> {
    async fn steps(&self, occasion: Occasion) -> Step<FlightEnd> {
        let (record, permits) = self.take_turn(occasion).await?;
        Span::current().record("issuer", host_of(&record.issuer));
        self.may_send()?;
        self.check_state(&record)?;
        let admission = self.admit(&record)?;
        self.spill_is_ready().await?;
        let (grant, key) = self.open(&record).await?;
        let Some(refresh_token) = grant.refresh_token.clone() else {
            return self.needs_reauth(&record, NeedsReauth::NoRefreshToken).await;
        };
        let mut prepared = match self.prepare(&grant).await {
            Ok(prepared) => prepared,
            Err(refusal) => return self.refused_to_prepare(&record, &admission, refusal).await,
        };
        // The preparation may have taken long; see below.
        self.may_send()?;
        let intent = self.begin().await?;
        if intent.recovering {
            self.wait_for_a_late_holder(&record, &grant).await?;
        }

        let mut attempt = 1;
        loop {
            if intent.recovering {
                self.look_right_before(&intent).await?;
            }
            // Asked again before every send: what is sent now is answered within a minute, and whoever stops this process
            // waits a little longer than that. What was begun later would be cut off.
            if let Err(stopped) = self.may_send() {
                self.end(&intent, &intent.restore, intent.unsent(self.now())).await;
                return Err(stopped);
            }
            if !self.lease_suffices(&intent) {
                self.end(&intent, &intent.restore, intent.unsent(self.now())).await;
                return Err(self.postpone(Delay::SlowIntent.into()));
            }
            self.sent.store(true, Ordering::Relaxed);
            let sent_at = self.now();
            let (not_before, source) = match prepared.send(refresh_token.clone()).await {
                RefreshOutcome::Granted { tokens, fault } => {
                    admission.worked(self.monotonic());
                    self.ended(if fault.is_some() { RefreshResult::Quarantined } else { RefreshResult::Granted });
                    let repaired = intent.recovering;
                    let successor = Successor { record, grant, key, tokens, fault, sent_at, repaired, permits };
                    return Ok(self.persist(successor).await);
                }
                RefreshOutcome::Refused { description } => {
                    admission.worked(self.monotonic());
                    self.ended(RefreshResult::Refused);
                    let description = description.filter(|text| !quotes(text, &refresh_token));
                    return self.refused(&record, &intent, description).await;
                }
                // A token that may be shown again for a while is not in doubt.
                RefreshOutcome::Unknown { source } if record.refresh_class == RefreshClass::Graceful => (None, source),
                RefreshOutcome::Unknown { source } => {
                    admission.failed(self.connection, self.monotonic());
                    return Err(self.unknown(&record, &intent, source).await);
                }
                RefreshOutcome::NotConsumed { not_before, source } => (not_before, source),
            };
            self.ended(RefreshResult::NotConsumed);
            let asked = not_before.filter(|at| *at > self.now());
            if attempt == ATTEMPTS || asked.is_some() {
                self.heed(&admission, asked);
                return Err(self.not_consumed(&intent, not_before, source).await);
            }
            attempt += 1;
            // A fresh preparation: proof and client assertion may be used once only.
            prepared = match self.prepare(&grant).await {
                Ok(prepared) => prepared,
                Err(refusal) => {
                    let schedule = after_failure(intent.schedule.attempts, None, self.now());
                    self.end(&intent, &intent.restore, schedule).await;
                    return self.refused_to_prepare(&record, &admission, refusal).await;
                }
            };
        }
    }

    /// Waits for a place among the refreshes under way, and gives the row as it is then. Whoever need not wait for long has
    /// the row of a moment ago, which is good enough to prepare with: the intent is written only into a row that has not
    /// changed.
    async fn take_turn(&self, occasion: Occasion) -> Step<(CredentialRecord, Permits)> {
        let record = match occasion {
            Occasion::Asked(record) => *record,
            Occasion::Swept(permits) => return Ok((self.read().await?, permits)),
        };
        let issuers = &self.vault.0.issuers;
        let issuer = issuers.of(&record.issuer);
        if let Some(permits) = issuers.at_once(&issuer) {
            return Ok((record, permits));
        }
        let asked = self.monotonic();
        // The semaphores are never closed, so that this cannot fail.
        let permits = issuers.wait(&issuer).await.ok_or_else(|| later(Delay::Draining))?;
        let waited = self.monotonic().saturating_sub(asked);
        Ok((if waited < A_MOMENT { record } else { self.read().await? }, permits))
    }

    fn may_send(&self) -> Step<()> {
        self.vault.stop().map_or(Ok(()), |delay| Err(later(delay)))
    }

    fn admit(&self, record: &CredentialRecord) -> Step<Admission> {
        self.vault.0.issuers.of(&record.issuer).admit(self.monotonic()).map_err(|wait| {
            let until = self.now().plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
            self.vault.0.postponed.wait(self.connection, until);
            FlightEnd::Later(Later::at(until, Delay::IssuerPaused))
        })
    }

    /// Without a place to write the answer to, no token is sent.
    async fn spill_is_ready(&self) -> Step<()> {
        self.vault.0.surroundings.spill.ready().await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "no refresh is started");
            later(Delay::NoSpill)
        })
    }

    /// Reads the row anew: since the caller looked, another instance or a login may have written.
    pub(super) async fn read(&self) -> Step<CredentialRecord> {
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
            record.schedule.not_before,
            tokens.issued_at,
            tokens.access_expires_at,
            tokens.refresh_token.is_some(),
            self.now(),
        );
        if let Some(until) = pause_until(record.schedule.not_before, self.now()) {
            return Err(FlightEnd::Later(Later::at(until, Delay::Postponed)));
        }
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

    async fn refused_to_prepare(
        &self,
        record: &CredentialRecord,
        admission: &Admission,
        refusal: RefreshRefusal,
    ) -> Step<FlightEnd> {
        match refusal {
            RefreshRefusal::NotNow(source) => {
                admission.failed(self.connection, self.monotonic());
                Err(self.postpone(source))
            }
            RefreshRefusal::Final(reason) => self.needs_reauth(record, reason).await,
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
        Ok(Intent { at, begun, restore, recovering, schedule: before.schedule })
    }

    /// Step 2: by the monotonic clock, since the wall clock may have been moved.
    pub(super) fn lease_suffices(&self, intent: &Intent) -> bool {
        let elapsed = self.vault.0.clock.monotonic().saturating_sub(intent.begun);
        let lease = Duration::from_secs(LEASE_SECONDS.unsigned_abs());
        lease.saturating_sub(elapsed) >= Duration::from_secs(LEASE_RESERVE_SECONDS)
    }

    fn elapsed_millis(&self, intent: &Intent) -> i64 {
        duration_millis(self.monotonic().saturating_sub(intent.begun))
    }

    /// `invalid_grant`, about this very token.
    async fn refused(
        &self,
        record: &CredentialRecord,
        intent: &Intent,
        description: Option<String>,
    ) -> Step<FlightEnd> {
        // Somebody may have been faster: an old answer must not condemn a newer grant.
        self.read().await?;
        let reason = if intent.recovering { NeedsReauth::LostResponse } else { NeedsReauth::Revoked };
        tracing::warn!(connection = %self.connection, reason = reason.code(), description, "the issuer refused the refresh token");
        let ended = self.end(intent, &CredentialState::NeedsReauth(reason), Schedule::default()).await;
        self.condemned(record, reason, ended)
    }

    /// The token was certainly not consumed, and is sent again after a pause.
    async fn not_consumed(&self, intent: &Intent, asked: Option<Timestamp>, source: BoxError) -> FlightEnd {
        let schedule = after_failure(intent.schedule.attempts, asked, self.now());
        self.end(intent, &intent.restore, schedule).await;
        self.pause(schedule, intent.at, source)
    }

    /// Leaves an issuer alone for as long as it asks, or after it failed for many.
    fn heed(&self, admission: &Admission, asked: Option<Timestamp>) {
        match asked {
            Some(until) => {
                let pause = until.millis_since(self.now()).max(0).unsigned_abs();
                admission.asked(Duration::from_millis(pause), self.monotonic());
            }
            None => admission.failed(self.connection, self.monotonic()),
        }
    }

    /// The worst case: the token may be spent. It stays where it is, and is sent once more after the quiet time.
    ///
    /// "Once more" means one send per recovery, and not one recovery. When that send ends unknown as well (a 503 again,
    /// another lost connection), nothing was learned about the token, and to give up would end the sign-in of everybody
    /// whose refresh fell into an outage of their server. So the next lease holder asks again: never within the quiet
    /// time of the newest intent, and after pauses that double up to a quarter of an hour; both are in the row. Sending it again makes
    /// nothing worse: either the token was never used, and still works; or it was, its successor is lost with the
    /// answer, and there is nothing left that a replay could end but the old access token.
    ///
    /// Only a definite answer decides: new tokens are stored, `invalid_grant` is a lost response (see `refused`).
    /// "Certainly not consumed" says nothing about the send before it, so that the row goes back to the older doubt.
    async fn unknown(&self, record: &CredentialRecord, intent: &Intent, source: BoxError) -> FlightEnd {
        self.ended(RefreshResult::Unknown);
        tracing::warn!(connection = %self.connection, error = %source, "the outcome of a refresh is unknown");
        // The quiet time counts from now and not from the intent, which may be most of a minute older: what was sent may
        // still be on its way. By the store's clock, as far as we can tell it.
        let noted = intent.at.plus_millis(self.elapsed_millis(intent));
        let schedule = after_doubt(intent.schedule.attempts, noted, self.now());
        let state = CredentialState::Unknown { intent_at: noted };
        // Told once for each incident, and not for each attempt.
        if self.end(intent, &state, schedule).await == Some(Cas::Done) && !intent.recovering {
            self.vault.tell(record, AccountEventKind::OutcomeUnknown);
        }
        self.pause(schedule, intent.at, source)
    }

    fn pause(&self, schedule: Schedule, otherwise: Timestamp, source: BoxError) -> FlightEnd {
        let until = schedule.not_before.unwrap_or(otherwise);
        self.vault.0.postponed.wait(self.connection, until);
        FlightEnd::Later(Later::at(until, source))
    }

    /// Nothing was sent, so that nothing is written either.
    fn postpone(&self, source: BoxError) -> FlightEnd {
        let until = self.vault.0.postponed.failed(self.connection, self.now());
        FlightEnd::Later(Later::at(until, source))
    }

    async fn needs_reauth(&self, record: &CredentialRecord, reason: NeedsReauth) -> Step<FlightEnd> {
        let state = CredentialState::NeedsReauth(reason);
        let store = &self.vault.0.credentials;
        let written = self.write(|| store.set_state(self.connection, self.seen, &state, Schedule::default())).await;
        self.condemned(record, reason, written)
    }

    fn condemned(&self, record: &CredentialRecord, reason: NeedsReauth, written: Option<Cas>) -> Step<FlightEnd> {
        match written {
            Some(Cas::Stale) => return Err(FlightEnd::Changed),
            Some(Cas::Done) => self.vault.tell(record, AccountEventKind::NeedsReauth(reason)),
            // Even when the store did not take it, this is what the issuer said.
            None => {}
        }
        Err(FlightEnd::Reauth(reason))
    }

    /// Ends what our intent began, unless somebody took over meanwhile: we may have been stopped for longer than our lease.
    async fn end(&self, intent: &Intent, state: &CredentialState, schedule: Schedule) -> Option<Cas> {
        let store = &self.vault.0.credentials;
        self.write(|| store.end_refresh(self.connection, self.seen, intent.at, state, schedule)).await
    }

    /// Writes a state; None when the store took it in none of several tries.
    async fn write<F: Future<Output = Result<Cas, StoreError>>>(&self, attempt: impl Fn() -> F) -> Option<Cas> {
        for number in 0..STATE_ATTEMPTS {
            match attempt().await {
                Ok(cas) => {
                    self.vault.0.opened.forget(self.connection);
                    self.vault.publish(self.connection).await;
                    return Some(cas);
                }
                Err(error) => {
                    tracing::warn!(connection = %self.connection, error = &error as &dyn std::error::Error, "a state was not stored");
                    tokio::time::sleep(Duration::from_millis(100 << number)).await;
                }
            }
        }
        None
    }

    fn ended(&self, result: RefreshResult) {
        *self.result.lock() = result;
    }

    fn sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.vault.0.clock.monotonic()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.vault.0.clock.now()
    }
}

impl Intent {
    /// The schedule of a row whose token was not sent after all.
    fn unsent(&self, now: Timestamp) -> Schedule {
        let attempts = self.schedule.attempts.saturating_sub(1);
        Schedule { attempts, not_before: self.schedule.not_before, due_at: Some(now) }
    }
}

/// The name of a server, without the scheme.
fn host_of(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, host)| host)
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

pub(super) fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
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
