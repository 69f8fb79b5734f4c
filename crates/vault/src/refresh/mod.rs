//! Refreshing a single-use refresh token without ever losing it (`REFRESH` in the documentation).
//!
//! | file | what it holds |
//! |---|---|
//! | `single_flight.rs` | at most one refresh per connection in this process, on a task that no caller can cancel |
//! | `run.rs` | the steps of one refresh, in the order that makes a crash at any of them harmless or visible |
//! | `late_holder.rs` | before a token is sent once more: whether its successor is there after all |
//! | `persist.rs` | writing the answer down before anybody looks at it, for as long as that takes |
//! | `schedule.rs` | when a credential is due again |
//! | `postponed.rs` | what failed a moment ago, before anything was written into the row |
//! | `issuers.rs` | how much each issuer is asked at once, and when it is left alone |
//! | `sweep.rs` | refreshing before anybody asks |
//! | `recover.rs` | a start after a crash: the spill goes into the rows |
//!
//! The store's row is the arbiter between processes: the intent, the lease, the generation and the schedule are in it.

mod issuers;
mod late_holder;
mod persist;
mod postponed;
mod recover;
mod run;
mod schedule;
mod single_flight;
mod sweep;

use std::sync::Arc;

use bowerbird_core::ports::BoxError;
use bowerbird_core::{ConnectionId, CredentialRecord, Generation, NeedsReauth, SPANS, Timestamp};
use tokio::sync::watch;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

pub(crate) use issuers::{Issuers, Limits};
pub(crate) use postponed::Postponements;
pub(crate) use single_flight::{Progress, SingleFlight, outcome};
pub(crate) use sweep::SweepPlace;
pub use sweep::Swept;

use crate::Vault;
use crate::credential_cache::OpenedCredential;

/// What a refresh is for.
pub(crate) enum Occasion {
    /// A caller waits for it, who has just read the row.
    Asked(Box<CredentialRecord>),
    /// Nobody waits; its place is taken already.
    Swept(issuers::Permits),
}

/// How a refresh ended, for everyone who waited.
#[derive(Clone)]
pub(crate) enum FlightEnd {
    /// New tokens are stored.
    Renewed(OpenedCredential),
    /// Only the person can repair it.
    Reauth(NeedsReauth),
    /// Not now. The refresh token was not sent, was not consumed, or nobody knows.
    Later(Later),
    /// New tokens came and the store does not take them yet.
    Unsaved(Later),
    /// The row is another one than the caller saw; look again.
    Changed,
    /// There is no row any more.
    Gone,
}

/// Why and until when.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) source: Shared,
}

impl Later {
    pub(crate) fn because(source: impl Into<BoxError>) -> Self {
        Self { not_before: None, source: Shared(Arc::from(source.into())) }
    }

    pub(crate) fn at(not_before: Timestamp, source: impl Into<BoxError>) -> Self {
        Self { not_before: Some(not_before), ..Self::because(source) }
    }
}

/// An error that several waiters get.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Reasons of our own to put a refresh off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Delay {
    #[error("this instance is shutting down and starts no refresh")]
    Draining,
    #[error("refreshing is suspended: an operator must look at this installation first")]
    Suspended,
    #[error("the account's server is left alone for a while: it failed, or asked for it")]
    IssuerPaused,
    #[error("the spill file cannot be written; the refresh token was not sent")]
    NoSpill,
    #[error("an earlier attempt failed a moment ago")]
    Postponed,
    #[error("the access token was refused again right after it was renewed")]
    RefusedAgain,
    #[error("the outcome of an earlier refresh is not known yet")]
    InDoubt,
    #[error("the credential is being changed by others")]
    Contended,
    #[error("the database took too long; the refresh token was not sent")]
    SlowIntent,
    #[error("the account's server was not ready in time; the refresh token was not sent")]
    SlowPreparation,
    #[error("the refresh ended without an outcome")]
    NoOutcome,
    #[error("the renewed tokens are not stored yet: the database does not take them")]
    Unsaved,
}

impl Vault {
    /// Joins the refresh of this connection, starting it if none is under way.
    pub(crate) fn refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        occasion: Occasion,
    ) -> watch::Receiver<Progress> {
        let vault = self.clone();
        // Of the caller who starts it, though it may outlive that one.
        let caller = Span::current();
        let run = move |flight: Arc<single_flight::Flight>| {
            let occasion_name = if matches!(occasion, Occasion::Asked(_)) { "asked" } else { "swept" };
            let span = tracing::info_span!(
                target: SPANS, parent: &caller, "refresh",
                occasion = occasion_name, issuer = Empty, outcome = Empty, span.failed = Empty,
            );
            drop(caller);
            async move { run::refresh(&vault, &flight, connection, seen, occasion).await }.instrument(span)
        };
        self.0.flights.join(connection, run)
    }

    /// What forbids to send any refresh token now.
    pub(crate) fn stop(&self) -> Option<Delay> {
        if self.is_draining() { Some(Delay::Draining) } else { self.suspension().is_some().then_some(Delay::Suspended) }
    }

    /// Waits until no refresh of this connection is under way here, or patience ends.
    pub(crate) async fn wait_for_flight(&self, connection: ConnectionId) {
        if let Some(flight) = self.0.flights.current(connection) {
            drop(tokio::time::timeout(self.0.config.patience, outcome(flight)).await);
        }
    }
}
