//! Checkout: a usable access token, now.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{AccountEventKind, BoxError, Cas, StoreError};
use bowerbird_core::refresh::{QUIET_SECONDS, RefreshDecision, decide, pause_until};
use bowerbird_core::{
    ConnectionId, CredentialRecord, CredentialState, Did, Generation, NeedsReauth, SPANS, Schedule, Secret, Timestamp,
};
use bowerbird_oauth::SigningKey;
use tokio::sync::watch;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::Vault;
use crate::credential_cache::Epoch;
use crate::grants::OpenError;
use crate::refresh::{Delay, FlightEnd, Later, Occasion, Progress, outcome};

/// How often a checkout looks again when the row changes under it.
const ROUNDS: usize = 4;
/// How often it looks at the row while somebody else refreshes.
const POLL: Duration = Duration::from_millis(250);

/// What a call to a resource server needs.
#[derive(Debug)]
pub struct UsableCredential {
    /// The access token.
    pub access_token: Secret,
    /// The key for the DPoP proofs of this grant, parsed; None when the access token is a plain bearer token.
    pub dpop_key: Option<SigningKey>,
    /// The only origin that may see the access token.
    pub audience: String,
    /// Who issued it.
    pub issuer: String,
    /// The scope as granted.
    pub scope: String,
    /// The identity that it speaks for.
    pub subject: Did,
    /// Which token set this is: what [`Vault::checkout_newer`] wants to know.
    pub generation: Generation,
    /// When the access token ends, by our clock.
    pub expires_at: Timestamp,
}

/// Why there is no usable access token.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// The connection has no credential: it was never granted, or was signed out.
    #[error("there is no credential for this connection; sign in again")]
    NotFound,
    /// Only the person can repair it, by signing in again.
    #[error("{} Sign in again.", .0.explanation())]
    NeedsReauth(NeedsReauth),
    /// Not now; nothing is lost.
    #[error("the access cannot be renewed right now; try again later")]
    TryLater {
        /// The earliest time that makes sense, if one is known.
        not_before: Option<Timestamp>,
        /// The cause.
        source: BoxError,
    },
    /// The store did not answer.
    #[error("the credential cannot be read right now")]
    Store(#[from] StoreError),
}

impl From<OpenError> for CheckoutError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Self::Store(error),
            OpenError::Unreadable(_) => Self::NeedsReauth(NeedsReauth::Unreadable),
            OpenError::DataKey(error) => Self::TryLater { not_before: None, source: error.into() },
        }
    }
}

impl From<Later> for CheckoutError {
    fn from(later: Later) -> Self {
        Self::TryLater { not_before: later.not_before, source: later.source.into() }
    }
}

type Checkout = Result<Arc<UsableCredential>, CheckoutError>;

impl Vault {
    /// Gives a usable credential, refreshed first if that is due.
    ///
    /// A fresh one that was opened before costs neither a read nor a decryption. While a refresh is due but the access
    /// token still works, waits for the refresh at most [`patience`](crate::VaultConfig::patience), then gives out the
    /// present one. Giving up (dropping the future) never disturbs a refresh.
    ///
    /// After the answer of a refresh was lost for good, the present access token is given out until its end, or until a
    /// server refuses it ([`Vault::checkout_newer`]); [`Vault::standing`] says meanwhile that the person must sign in.
    ///
    /// A refresh runs on the runtime of its first caller. A program whose runtime ends must [drain](Vault::drain) first:
    /// a refresh that is cut off loses its grant.
    pub async fn checkout(&self, connection: ConnectionId) -> Checkout {
        if let Some(opened) = self.0.opened.get(connection) {
            let now = self.0.clock.now();
            match opened.decide(now) {
                RefreshDecision::Fresh | RefreshDecision::UseWhileWaiting | RefreshDecision::UseUntilEnd(_) => {
                    self.0.from_memory.add();
                    return Ok(opened.usable);
                }
                // The issuer cannot be asked for a while: no reason to read the row for every call until then.
                RefreshDecision::Due if self.0.postponed.until(connection, now).is_some() => {
                    self.0.from_memory.add();
                    return Ok(opened.usable);
                }
                _ => {}
            }
        }
        self.timed_checkout(connection, None).await
    }

    /// Gives a usable credential of a later generation than the one whose access token was just refused (401
    /// `invalid_token`): the stored one if there is a later one, else refreshes once.
    ///
    /// A refresh ends the old access token at once, so that a call in flight may be refused for no other reason; it
    /// must be repeated with the newer token and not lead to another refresh.
    pub async fn checkout_newer(&self, connection: ConnectionId, than: Generation) -> Checkout {
        if let Some(opened) = self.0.opened.get(connection)
            && opened.usable.generation > than
            && opened.decide(self.0.clock.now()) == RefreshDecision::Fresh
        {
            self.0.from_memory.add();
            return Ok(opened.usable);
        }
        self.timed_checkout(connection, Some(than)).await
    }

    async fn timed_checkout(&self, connection: ConnectionId, than: Option<Generation>) -> Checkout {
        let begun = self.0.clock.monotonic();
        // One from memory leaves no span: making it would take several times as long.
        let span = tracing::info_span!(target: SPANS, "checkout", outcome = Empty, span.failed = Empty);
        let end = self.checkout_stored(connection, than).instrument(span.clone()).await;
        if !span.is_disabled() {
            span.record("outcome", outcome_of(&end));
            span.record("span.failed", matches!(end, Err(CheckoutError::Store(_))));
        }
        self.0.surroundings.observer.checkout_stored(self.0.clock.monotonic().saturating_sub(begun));
        end
    }

    async fn checkout_stored(&self, connection: ConnectionId, than: Option<Generation>) -> Checkout {
        let mut patience = self.0.config.patience;
        let mut rounds = 0;
        while rounds < ROUNDS {
            let epoch = self.0.opened.epoch();
            let found = self.0.credentials.find_with_key(connection).await?;
            let (record, key) = found.ok_or(CheckoutError::NotFound)?;
            if let Some(key) = key {
                self.0.data_keys.offer(key).await;
            }
            let look = Look { vault: self, record, epoch, than, now: self.0.clock.now() };
            self.0.uses.note(&look.record, look.now);
            match look.next_step() {
                NextStep::HandOut => return look.hand_out().await,
                NextStep::Reauth(reason) => {
                    rounds += 1;
                    if look.note_reauth(reason).await != Some(Cas::Stale) {
                        return Err(CheckoutError::NeedsReauth(reason));
                    }
                }
                NextStep::Refresh => {
                    rounds += 1;
                    if let Some(end) = look.refresh().await {
                        return end;
                    }
                }
                // Another process refreshes, or did before it died. Its outcome will be in the row.
                NextStep::Wait(until) if patience.is_zero() || look.is_idle_until(until, patience) => {
                    return Err(Later::at(until, look.reason_to_wait()).into());
                }
                NextStep::Wait(_) => {
                    let pause = patience.min(POLL);
                    tokio::time::sleep(pause).await;
                    patience -= pause;
                }
            }
        }
        Err(Later::because(Delay::Contended).into())
    }
}

/// In a word.
fn outcome_of(checkout: &Checkout) -> &'static str {
    match checkout {
        Ok(_) => "usable",
        Err(CheckoutError::NotFound) => "not_found",
        Err(CheckoutError::NeedsReauth(reason)) => reason.code(),
        Err(CheckoutError::TryLater { .. }) => "try_later",
        Err(CheckoutError::Store(_)) => "store_failed",
    }
}

/// One look at the row.
struct Look<'a> {
    vault: &'a Vault,
    record: CredentialRecord,
    epoch: Epoch,
    than: Option<Generation>,
    now: Timestamp,
}

enum NextStep {
    HandOut,
    Refresh,
    Wait(Timestamp),
    Reauth(NeedsReauth),
}

impl Look<'_> {
    fn next_step(&self) -> NextStep {
        let running = self.vault.0.flights.current(self.record.connection).is_some();
        match self.decide(&self.record.state, self.has_refresh_token()) {
            RefreshDecision::Fresh | RefreshDecision::UseUntilEnd(_) if !self.is_refused() => NextStep::HandOut,
            RefreshDecision::UseUntilEnd(reason) | RefreshDecision::Reauth(reason) => NextStep::Reauth(reason),
            RefreshDecision::Fresh if !self.has_refresh_token() => NextStep::Reauth(NeedsReauth::NoRefreshToken),
            RefreshDecision::Fresh | RefreshDecision::Due | RefreshDecision::Expired | RefreshDecision::Recover => {
                NextStep::Refresh
            }
            // A refresh under way right here is worth waiting for: it ends the present access token.
            RefreshDecision::UseWhileWaiting | RefreshDecision::WaitUntil(_) if running => NextStep::Refresh,
            RefreshDecision::UseWhileWaiting if !self.is_refused() => NextStep::HandOut,
            RefreshDecision::UseWhileWaiting => NextStep::Wait(self.quiet_until()),
            RefreshDecision::WaitUntil(until) => NextStep::Wait(until),
        }
    }

    /// Waits for the refresh, starting it if need be. None means that the row changed: look again.
    async fn refresh(&self) -> Option<Checkout> {
        let flight = match self.may_start() {
            Ok(flight) => flight,
            Err(later) => return Some(self.hand_out_or(later).await),
        };
        let end = if self.is_usable() {
            match tokio::time::timeout(self.vault.0.config.patience, outcome(flight)).await {
                Ok(end) => end,
                Err(_) => return Some(self.hand_out().await),
            }
        } else {
            outcome(flight).await
        };
        match end {
            // A process or a machine that was stopped meanwhile may have outlived the new token, too.
            FlightEnd::Renewed(opened)
                if self.than.is_none_or(|than| opened.usable.generation > than)
                    && opened.decide(self.vault.0.clock.now()) != RefreshDecision::Expired =>
            {
                Some(Ok(opened.usable))
            }
            FlightEnd::Renewed(_) | FlightEnd::Changed => None,
            FlightEnd::Reauth(reason) => Some(self.hand_out_despite(reason).await),
            // The issuer rotated: the present access token is dead, whatever its expiry says.
            FlightEnd::Unsaved(later) => Some(Err(later.into())),
            FlightEnd::Later(later) => Some(self.hand_out_or(later).await),
            FlightEnd::Gone => Some(Err(CheckoutError::NotFound)),
        }
    }

    /// Joins the refresh under way, or starts one unless something speaks against it.
    fn may_start(&self) -> Result<watch::Receiver<Progress>, Later> {
        let (vault, connection) = (self.vault, self.record.connection);
        if let Some(flight) = vault.0.flights.current(connection) {
            return Ok(flight);
        }
        if let Some(delay) = vault.stop() {
            return Err(Later::because(delay));
        }
        let paused = pause_until(self.record.schedule.not_before, self.now);
        if let Some(until) = paused.or_else(|| vault.0.postponed.until(connection, self.now)) {
            return Err(Later::at(until, Delay::Postponed));
        }
        if self.is_refused()
            && let Some(until) = vault.0.postponed.force(connection, self.now)
        {
            return Err(Later::at(until, Delay::RefusedAgain));
        }
        let occasion = Occasion::Asked(Box::new(self.record.clone()));
        Ok(vault.refresh(connection, self.record.generation, occasion))
    }

    async fn hand_out_or(&self, later: Later) -> Checkout {
        if self.is_usable() { self.hand_out().await } else { Err(later.into()) }
    }

    /// Not by looking at the row again: the store may not have taken the reason.
    async fn hand_out_despite(&self, reason: NeedsReauth) -> Checkout {
        match self.decide(&CredentialState::NeedsReauth(reason), self.has_refresh_token()) {
            RefreshDecision::UseUntilEnd(_) if !self.is_refused() => self.hand_out().await,
            _ => Err(CheckoutError::NeedsReauth(reason)),
        }
    }

    async fn hand_out(&self) -> Checkout {
        let opened = self.vault.open_record(&self.record).await?.into_opened(&self.record);
        self.vault.0.opened.put(self.record.connection, &opened, self.epoch);
        Ok(opened.usable)
    }

    /// Writes down a reason that only the clock or a refusal brought up, so that lists and counts tell it too. Stale
    /// when the row changed meanwhile; whether the write succeeds changes nothing about the fact.
    async fn note_reauth(&self, reason: NeedsReauth) -> Option<Cas> {
        if self.record.state != CredentialState::Ok {
            return None;
        }
        let (connection, state) = (self.record.connection, CredentialState::NeedsReauth(reason));
        let written =
            self.vault.0.credentials.set_state(connection, self.record.generation, &state, Schedule::default()).await;
        self.vault.0.opened.forget(connection);
        if matches!(written, Ok(Cas::Done)) {
            self.vault.tell(&self.record, AccountEventKind::NeedsReauth(reason));
            self.vault.publish(connection).await;
        }
        written
            .inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(%connection, error, "a state was not stored");
            })
            .ok()
    }

    /// Whether the present access token is known to be refused.
    fn is_refused(&self) -> bool {
        self.than.is_some_and(|than| self.record.generation <= than)
    }

    /// Whether the present access token still works, as far as we know.
    fn is_usable(&self) -> bool {
        // What the decision says of a token that cannot be refreshed is just that: usable, or past use.
        !self.is_refused() && self.decide(&CredentialState::Ok, false) == RefreshDecision::Fresh
    }

    fn has_refresh_token(&self) -> bool {
        self.record.tokens.refresh_token.is_some()
    }

    /// Whether the row cannot get better within `patience`: nobody refreshes, and nobody begins before `until`.
    fn is_idle_until(&self, until: Timestamp, patience: Duration) -> bool {
        let refreshing =
            matches!(self.record.state, CredentialState::Refreshing { lease_until, .. } if lease_until > self.now);
        let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        !refreshing && until.millis_since(self.now) > patience
    }

    const fn reason_to_wait(&self) -> Delay {
        match self.record.state {
            CredentialState::Ok | CredentialState::NeedsReauth(_) => Delay::Postponed,
            CredentialState::Refreshing { .. } | CredentialState::Unknown { .. } => Delay::InDoubt,
        }
    }

    fn quiet_until(&self) -> Timestamp {
        let quiet = match self.record.state {
            CredentialState::Refreshing { lease_until, intent_at } => {
                lease_until.max(intent_at.plus_seconds(QUIET_SECONDS))
            }
            CredentialState::Unknown { intent_at } => intent_at.plus_seconds(QUIET_SECONDS),
            CredentialState::Ok | CredentialState::NeedsReauth(_) => self.now,
        };
        pause_until(self.record.schedule.not_before, self.now).map_or(quiet, |pause| pause.max(quiet))
    }

    fn decide(&self, state: &CredentialState, has_refresh_token: bool) -> RefreshDecision {
        let (tokens, not_before) = (&self.record.tokens, self.record.schedule.not_before);
        decide(state, not_before, tokens.issued_at, tokens.access_expires_at, has_refresh_token, self.now)
    }
}
