//! After a crash: what the spill holds goes into the rows, before anything is sent. At a start, and while serving for
//! processes on the same folder that died.

use bowerbird_core::ports::{Cas, HighMark, SpillEntry, StoreError};
use bowerbird_core::{CredentialRecord, CredentialState};

use crate::suspension::{RecoverError, Recovered, Suspension};
use crate::{Vault, VaultHealth};

/// What became of one entry.
enum Replayed {
    Stored,
    Settled,
    /// The row is older than the one that the answer belongs to.
    Behind,
}

impl Vault {
    /// Stores the answers that a crash kept from the database, and looks for rows that come from an older backup; such
    /// rows [suspend](Vault::suspend) the vault. To be called once at a start, before anything is checked out.
    pub async fn recover(&self) -> Result<Recovered, RecoverError> {
        let mut recovered = self.take_over().await?;
        for HighMark { connection, granted, stored } in self.0.surroundings.spill.high_marks().await? {
            let row = match self.0.credentials.find(connection).await {
                // It says nothing about its age.
                Err(StoreError::Inconsistent { .. }) => None,
                row => row?,
            };
            if row.is_some_and(|row| row.fields.granted_generation == granted && row.generation < stored) {
                recovered.restored += 1;
            }
        }
        if recovered.restored > 0 {
            self.suspend(Suspension::RestoredBackup);
        }
        Ok(recovered)
    }

    /// Stores the answers that are in the spill and not in their rows: those of processes on the same folder that died, and
    /// this one's own, which it goes on trying to store meanwhile. Rows that are older than such an answer are counted and
    /// left alone, and a row that is no row, too: it keeps nobody else's answer waiting.
    pub async fn take_over(&self) -> Result<Recovered, RecoverError> {
        let spill = &self.0.surroundings.spill;
        let mut recovered = Recovered::default();
        for entry in spill.unsettled().await? {
            match self.replay(&entry).await {
                Ok(Replayed::Stored) => recovered.stored += 1,
                Ok(Replayed::Settled) => recovered.settled += 1,
                Ok(Replayed::Behind) => {
                    recovered.restored += 1;
                    continue;
                }
                Err(RecoverError::Store(error @ (StoreError::Inconsistent { .. } | StoreError::Refused(_)))) => {
                    let (connection, error) = (entry.connection, &error as &dyn std::error::Error);
                    tracing::error!(%connection, error, "renewed tokens wait in the spill: their row does not take them; mend it, or remove the account");
                    continue;
                }
                Err(error) => return Err(error),
            }
            spill.settle(entry.connection, entry.seen).await;
        }
        Ok(recovered)
    }

    async fn replay(&self, entry: &SpillEntry) -> Result<Replayed, RecoverError> {
        loop {
            let Some(row) = self.0.credentials.find(entry.connection).await? else {
                tracing::warn!(connection = %entry.connection, "renewed tokens of a removed credential are let go");
                return Ok(Replayed::Settled);
            };
            if row.fields.granted_generation > entry.granted {
                tracing::warn!(connection = %entry.connection, "renewed tokens of a replaced grant are let go");
                return Ok(Replayed::Settled);
            }
            if row.generation > entry.seen {
                return Ok(Replayed::Settled);
            }
            if row.generation < entry.seen || row.fields.granted_generation < entry.granted {
                return Ok(Replayed::Behind);
            }
            if self.store_spilled(&row, entry).await? == Cas::Done {
                return Ok(Replayed::Stored);
            }
        }
    }

    /// Puts an answer from the spill into the row that it succeeds, unless that one has changed since it was read.
    pub(super) async fn store_spilled(&self, row: &CredentialRecord, entry: &SpillEntry) -> Result<Cas, StoreError> {
        let SpillEntry { connection, seen, ref tokens, ref state, schedule, .. } = *entry;
        let cas = self.0.credentials.commit_refresh(connection, seen, tokens, state, schedule).await?;
        if cas == Cas::Done {
            self.forget(connection);
            tracing::info!(%connection, "renewed tokens that another process had written down are stored");
            self.tell_stored(row, state, row.state != CredentialState::Ok).await;
        }
        Ok(cas)
    }
}

impl VaultHealth {
    /// Whether refreshes are started.
    pub const fn refreshes(&self) -> bool {
        self.suspended.is_none() && !self.draining
    }
}
