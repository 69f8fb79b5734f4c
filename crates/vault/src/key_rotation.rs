//! Wrapping every data key under the newest key-encryption key, while servers run.
//!
//! Each key is replaced by itself, and only if its wrapping is still the one that was read. There is no cursor to
//! lose: what is left is what is not yet under the newest key, so a run that was killed is simply begun again.

use std::sync::Arc;

use bowerbird_core::WrappedDataKey;
use bowerbird_core::ports::{Cas, DataKeyStore, Entropy, KeyProvider, StoreError};
use tokio::task::JoinSet;

use crate::data_keys::{DataKeyError, KeyWrapping};
use crate::envelope::Unreadable;

/// How many keys are read, and replaced at once: their writes can share a commit.
const PAGE: u32 = 64;

/// How far a rotation is, or how it ended. Everything counts data keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationProgress {
    /// Wrapped anew by this run.
    pub rewrapped: u64,
    /// Changed by somebody else meanwhile, or gone with their account.
    pub skipped: u64,
    /// Not readable with any key at hand; left as they are.
    pub unreadable: u64,
    /// How many were left when the run began.
    pub total: u64,
}

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The id of the key that wraps now.
    pub active: String,
    /// What was done.
    pub progress: RotationProgress,
    /// The older ids that data keys are still under, with counts, read from the store after the last write. Empty is
    /// the proof that no older key is needed.
    pub left: Vec<(String, u64)>,
}

/// Wraps data keys anew.
#[derive(Clone)]
pub struct KeyRotation {
    store: Arc<dyn DataKeyStore>,
    wrapping: KeyWrapping,
}

impl KeyRotation {
    /// For the data keys of an installation. `keys` must have the newest key and those that it replaces.
    pub fn new(
        cluster_id: impl Into<String>,
        store: Arc<dyn DataKeyStore>,
        keys: Arc<dyn KeyProvider>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, wrapping: KeyWrapping { cluster_id: cluster_id.into(), keys, entropy } }
    }

    /// Wraps every data key under the active key-encryption key. `tell` hears after each page.
    ///
    /// A store or a provider that fails ends the run; what was done stays done. A data key that opens with no key at
    /// hand is counted and left.
    pub async fn run(&self, tell: &mut (dyn FnMut(&RotationProgress) + Send)) -> Result<Rotated, DataKeyError> {
        let active = self.wrapping.keys.active().await?.id;
        let mut progress = RotationProgress { total: total(&self.left(&active).await?), ..RotationProgress::default() };
        let mut after = None;
        loop {
            let page = self.store.page_by_kek(&active, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.account);
            self.page(page, &mut progress).await?;
            tell(&progress);
        }
        let left = self.left(&active).await?;
        Ok(Rotated { active, progress, left })
    }

    /// The ids other than the active one that data keys are under.
    async fn left(&self, active: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts = self.store.count_by_kek().await?;
        counts.retain(|(id, _)| id != active);
        Ok(counts)
    }

    async fn page(&self, page: Vec<WrappedDataKey>, progress: &mut RotationProgress) -> Result<(), DataKeyError> {
        let mut writes = JoinSet::new();
        for key in page {
            let rotation = self.clone();
            writes.spawn(async move { rotation.one(&key).await });
        }
        // Every write of the page is heard before an error ends the run.
        let mut failed = None;
        while let Some(done) = writes.join_next().await {
            match done {
                Ok(Ok(Cas::Done)) => progress.rewrapped += 1,
                Ok(Ok(Cas::Stale)) => progress.skipped += 1,
                Ok(Err(DataKeyError::Unreadable(_))) => progress.unreadable += 1,
                Ok(Err(error)) => failed = Some(error),
                Err(broken) => failed = Some(StoreError::Unavailable(Box::new(broken)).into()),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn one(&self, key: &WrappedDataKey) -> Result<Cas, DataKeyError> {
        let opened = self.wrapping.open(key).await?;
        let anew = self.wrapping.wrap(key.account, &opened).await?;
        // Read back before it replaces the only copy: a wrapping that does not open would lose the account.
        if self.wrapping.open(&anew).await?.expose() != opened.expose() {
            return Err(Unreadable.into());
        }
        Ok(self.store.rewrap(&anew, &key.kek_id).await?)
    }
}

impl std::fmt::Debug for KeyRotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRotation").finish_non_exhaustive()
    }
}

fn total(counts: &[(String, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}
