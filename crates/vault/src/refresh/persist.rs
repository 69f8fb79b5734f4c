//! Writing the answer down, before anything else looks at it.
//!
//! Between the issuer's rotation and this write the new refresh token exists in this process alone. So nothing here
//! gives up: while the store refuses, the tokens stay in memory, sealed, the instance reports itself not ready, and
//! the write is tried again for as long as the process lives. The interval stays short, so that the write comes soon
//! after the store is back: another instance that finds our old intent would otherwise send the spent token.
//!
//! One case stays open: an instance that is cut off from a store which others reach, for longer than its lease. To the
//! others it looks dead, and after the quiet time one of them sends the token once more.
//!
//! The spill is written before the row: a crash while the database is away loses nothing then (see `recover.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_core::ports::{Cas, RefreshedTokens, SpillEntry, StoreError};
use bowerbird_core::{CredentialRecord, CredentialState, NeedsReauth, Timestamp};

use super::FlightEnd;
use super::issuers::Permits;
use super::run::Run;
use crate::envelope::SealingKey;
use crate::grants::{OpenedGrant, TokenSet};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// What an issuer gave, and the row that it succeeds.
pub(super) struct Successor {
    pub(super) record: CredentialRecord,
    pub(super) grant: OpenedGrant,
    /// The account's data key, at hand since before the token was sent: sealing cannot fail any more.
    pub(super) key: Arc<SealingKey>,
    pub(super) tokens: RefreshedTokens,
    /// Why the tokens must not be used, though they must be kept.
    pub(super) fault: Option<NeedsReauth>,
    /// The access token's life is counted from here, the earliest moment that it can have begun.
    pub(super) sent_at: Timestamp,
    /// Whether this ends a doubt about an earlier attempt.
    pub(super) repaired: bool,
    /// The run's turn: over once the answer is safe in the spill, so that the row's commit holds up nobody else. With an
    /// answer that is nowhere but in memory, it lasts, and bounds how many of these there are.
    pub(super) permits: Permits,
}

impl Run<'_> {
    pub(super) async fn persist(&self, successor: Successor) -> FlightEnd {
        let Successor { mut record, mut grant, key, tokens, fault, sent_at, repaired, permits } = successor;
        grant.access_token = tokens.access_token;
        // An answer without a refresh token, or without a scope, never overwrites the one that we hold.
        grant.refresh_token = tokens.refresh_token.or(grant.refresh_token);
        // A scope that no database takes must not make the tokens unstorable; it is not one that was asked for either.
        let (scope, fault) = match tokens.scope {
            Some(scope) if scope.contains('\0') => (None, fault.or(Some(NeedsReauth::ScopeLost))),
            scope => (scope, fault),
        };
        grant.scope = scope.unwrap_or(grant.scope);
        grant.generation = self.seen.next();
        grant.state = fault.map_or(CredentialState::Ok, CredentialState::NeedsReauth);
        record.generation = grant.generation;
        record.state = grant.state.clone();
        let tokens = TokenSet {
            access_token: &grant.access_token,
            refresh_token: grant.refresh_token.as_ref(),
            expires_in: tokens.expires_in,
            scope: &grant.scope,
        };
        // To the place of the row as it was opened; a refresh changes none of the columns that are part of it.
        let sealed = self.vault.seal_tokens(&self.vault.place(&record), &key, grant.generation, &tokens, sent_at);
        record.tokens = sealed;

        // The rotation ended the old access token: nobody should get it from memory while the store takes its time.
        self.vault.0.opened.forget(self.connection);
        record.used_at = if self.swept { self.vault.0.uses.last(&record) } else { self.now() };
        record.schedule = self.vault.schedule(&record);
        let cas = self.commit(&record, permits).await;
        self.vault.0.opened.forget(self.connection);
        self.vault.0.postponed.succeeded(self.connection);
        if cas == Cas::Stale {
            // A login came in between, or the account was removed, and what we hold belongs to nobody any more. Or the
            // acknowledgement of our own commit was lost. In each case the row is right.
            tracing::warn!(connection = %self.connection, "the row changed before renewed tokens were stored");
            return FlightEnd::Changed;
        }
        self.vault.tell_stored(&record, &record.state, repaired).await;
        if let Some(reason) = fault {
            tracing::warn!(connection = %self.connection, reason = reason.code(), "a refreshed grant is quarantined");
            return FlightEnd::Reauth(reason);
        }
        // Not put into the cache: a login may have replaced it by now, and the next checkout reads the row anyway.
        FlightEnd::Renewed(grant.into_opened(&record))
    }

    /// Spill, then row; tries until the store has spoken.
    async fn commit(&self, record: &CredentialRecord, permits: Permits) -> Cas {
        let entry = SpillEntry {
            connection: self.connection,
            seen: self.seen,
            granted: record.fields.granted_generation,
            tokens: record.tokens.clone(),
            state: record.state.clone(),
            schedule: record.schedule,
        };
        let mut spilled = self.spill(&entry).await;
        let mut turn = (!spilled).then_some(permits);
        let mut unsaved = None;
        let mut wait = FIRST_RETRY;
        let cas = loop {
            let SpillEntry { connection, seen, ref tokens, ref state, schedule, .. } = entry;
            match self.vault.0.credentials.commit_refresh(connection, seen, tokens, state, schedule).await {
                Ok(cas) => break cas,
                // What it hangs from is gone, and with it whoever could use it.
                Err(StoreError::Refused(reason)) => {
                    tracing::error!(%connection, reason, "the database refuses renewed tokens");
                    break Cas::Stale;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%connection, error, spilled, "renewed tokens are not stored yet; do not kill this process");
                }
            }
            if unsaved.is_none() {
                unsaved = Some(Unsaved::count(&self.vault.0.unsaved));
                self.flight.tell_unsaved();
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
            spilled = spilled || self.spill(&entry).await;
            turn = turn.filter(|_| !spilled);
        };
        drop(turn);
        self.vault.0.surroundings.spill.settle(self.connection, self.seen).await;
        cas
    }

    /// A spill that fails now holds nothing up: the database comes next.
    async fn spill(&self, entry: &SpillEntry) -> bool {
        let spilled = self.vault.0.surroundings.spill.append(entry).await;
        if let Err(error) = &spilled {
            let error = error as &dyn std::error::Error;
            tracing::error!(connection = %self.connection, error, "renewed tokens are not in the spill file");
        }
        spilled.is_ok()
    }
}

/// Counts one unsaved answer for as long as it lives.
struct Unsaved<'a>(&'a AtomicUsize);

impl<'a> Unsaved<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Unsaved<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
