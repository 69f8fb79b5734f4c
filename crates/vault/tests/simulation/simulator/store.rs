//! The shared store as one instance sees it: with a clock of its own, slow now and then, failing before or after its
//! effect, out for everybody or cut off from this instance alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{BegunRefresh, Cas, CredentialStore, DueCredential, DuePlace, LeaseRequest, StoreError};
use bowerbird_core::{
    ConnectionId, CredentialRecord, CredentialState, Generation, NeedsReauth, Schedule, SealedTokens, Timestamp,
};

use super::life::Life;
use super::plan::Mutant;
use super::world::World;

pub(crate) struct Credentials {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Before,
    After,
}

impl Credentials {
    /// A call: the way in, the effect, the way out.
    async fn call<T: Send>(&self, effect: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        let (world, life) = (&self.world, &self.life);
        world.gate(life).await;
        let failure = world.goes_wrong(world.plan.store_fails).then(|| {
            life.trouble(world.elapsed());
            world.ledger.lock().count("store errors");
            let failure = if world.rng(|rng| rng.permille(500)) { Failure::Before } else { Failure::After };
            world.note(|| format!("instance {} meets an error of the store, {failure:?} the effect", life.number));
            failure
        });
        if world.goes_wrong(world.plan.store_fails / 8) {
            let slow = Duration::from_secs(world.rng(|rng| rng.between(1, 60)));
            life.trouble(world.elapsed() + slow);
            tokio::time::sleep(slow).await;
            life.held().await;
        }
        if failure == Some(Failure::Before) || world.is_out() || life.is_cut_off(world.elapsed()) {
            world.gate(life).await;
            return unavailable();
        }
        let done = effect.await;
        world.gate(life).await;
        if failure == Some(Failure::After) { unavailable() } else { done }
    }

    fn inner(&self) -> &dyn CredentialStore {
        &*self.world.stores.credentials
    }

    fn note(&self, what: &str, connection: ConnectionId, end: &dyn std::fmt::Debug) {
        self.world.note(|| format!("instance {} {what} {}: {end:?}", self.life.number, short(connection)));
    }
}

/// The last digits of a name.
pub(crate) fn short(connection: ConnectionId) -> String {
    let name = connection.to_string();
    name[name.len() - 4..].to_owned()
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("simulated".into()))
}

#[async_trait]
impl CredentialStore for Credentials {
    async fn find(&self, connection: ConnectionId) -> Result<Option<CredentialRecord>, StoreError> {
        self.call(self.inner().find(connection)).await
    }

    async fn replace(&self, record: &CredentialRecord, seen: Option<Generation>) -> Result<Cas, StoreError> {
        self.call(async {
            self.world.ledger.lock().stored_login(&record.tokens, self.world.elapsed());
            let cas = self.inner().replace(record, seen).await;
            self.note(&format!("stores a login, {}, at", record.tokens.scope), record.connection, &cas);
            cas
        })
        .await
    }

    async fn begin_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        lease: LeaseRequest<'_>,
    ) -> Result<Option<BegunRefresh>, StoreError> {
        self.call(async {
            let lease = LeaseRequest { now: self.world.store_time(), ..lease };
            if self.world.is(Mutant::LeaseIgnored)
                && let Some(row) = self.inner().find(connection).await?
                && matches!(row.state, CredentialState::Refreshing { .. })
            {
                let _ = self.inner().set_state(connection, seen, &CredentialState::Ok, row.schedule).await?;
            }
            let begun = self.inner().begin_refresh(connection, seen, lease).await;
            self.note("asks for the lease of", connection, &begun.as_ref().map(Option::is_some));
            begun
        })
        .await
    }

    async fn commit_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        tokens: &SealedTokens,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.call(async {
            let Some(before) = self.inner().find(connection).await? else { return Ok(Cas::Stale) };
            let seen = if self.world.is(Mutant::CommitIgnoresGeneration) { before.generation } else { seen };
            let mut tokens = tokens.clone();
            if self.world.is(Mutant::StoredInTheClear) {
                tokens.refresh_token = Some(b"SIM-rt-0-1".to_vec());
            }
            let cas = self.inner().commit_refresh(connection, seen, &tokens, state, schedule).await?;
            self.note(&format!("stores {}, {state:?}, at", tokens.scope), connection, &cas);
            if cas == Cas::Done {
                self.world.ledger.lock().stored(&before, &tokens);
            }
            Ok(cas)
        })
        .await
    }

    async fn set_state(
        &self,
        connection: ConnectionId,
        seen: Generation,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.call(async {
            let cas = self.inner().set_state(connection, seen, state, schedule).await;
            self.note(&format!("notes {state:?} at"), connection, &cas);
            cas
        })
        .await
    }

    async fn end_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        intent_at: Timestamp,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        self.call(async {
            let forgets = self.world.is(Mutant::DoubtForgotten) && matches!(state, CredentialState::Unknown { .. });
            let state = if forgets { &CredentialState::Ok } else { state };
            let cas = self.inner().end_refresh(connection, seen, intent_at, state, schedule).await;
            self.note(&format!("ends its refresh with {state:?} at"), connection, &cas);
            cas
        })
        .await
    }

    async fn due(&self, now: Timestamp, after: Option<DuePlace>, limit: u32) -> Result<Vec<DueCredential>, StoreError> {
        self.call(self.inner().due(now, after, limit)).await
    }

    async fn note_use(&self, uses: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError> {
        self.call(self.inner().note_use(uses)).await
    }

    async fn count_by_reason(&self) -> Result<Vec<(Option<NeedsReauth>, u64)>, StoreError> {
        self.call(self.inner().count_by_reason()).await
    }

    async fn count_by_client_key(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        self.call(self.inner().count_by_client_key()).await
    }

    async fn remove(&self, connection: ConnectionId, seen: Generation) -> Result<Cas, StoreError> {
        self.call(async {
            let cas = self.inner().remove(connection, seen).await;
            self.note("signs out", connection, &cas);
            cas
        })
        .await
    }
}
