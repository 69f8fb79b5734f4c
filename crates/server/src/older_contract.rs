//! Apps that are given their session in an address, as the older contract has it: what the operator is told of them
//! (DECISIONS 2). The address is one of the configuration; nothing of what is put into it is kept or said.

use std::sync::Arc;

use bowerbird_core::Timestamp;
use bowerbird_core::ports::{Clock, OlderContractStore, OlderContractUse, StoreError};
use bowerbird_events::Metrics;

use crate::mobile::{HandoffMode, MobileConfig};

/// What the operator can do about such an app.
pub const OLDER_CONTRACT_HINT: &str = "let the app send code_challenge_method=S256 and exchange the code that it gets; \
    when no app needs the older contract any more, set BOWERBIRD_MOBILE_HANDOFF=code";

/// Tells the operator. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OlderContract {
    store: Arc<dyn OlderContractStore>,
    clock: Arc<dyn Clock>,
    metrics: Option<Metrics>,
}

impl OlderContract {
    pub(crate) fn new(
        store: Arc<dyn OlderContractStore>,
        clock: Arc<dyn Clock>,
        metrics: Option<Metrics>,
        mobile: &MobileConfig,
    ) -> Self {
        if let Some(metrics) = metrics.as_ref().filter(|_| mobile.handoff != HandoffMode::Code) {
            let addresses = mobile.addresses.iter().filter(|address| !address.is_link());
            addresses.for_each(|address| metrics.expect_session_in_address(address.as_str()));
        }
        Self { store, clock, metrics }
    }

    /// A session was put into an address: said in the log, counted, and written down. A database that does not answer keeps
    /// nobody from signing in.
    pub(crate) async fn used(&self, address: &str) {
        tracing::warn!(address, hint = OLDER_CONTRACT_HINT, "an app was given its session in its address");
        if let Some(metrics) = &self.metrics {
            metrics.session_in_address(address);
        }
        if let Err(error) = self.store.note(address, self.clock.now()).await {
            tracing::warn!(%error, "that an app was given its session in its address could not be written down");
        }
    }
}

/// The addresses that the operator is to be warned of, the one that was used last first.
pub async fn older_contract_warnings(
    store: &dyn OlderContractStore,
    now: Timestamp,
) -> Result<Vec<OlderContractUse>, StoreError> {
    let mut uses = store.list().await?;
    uses.retain(|one| one.is_recent(now));
    Ok(uses)
}

#[cfg(test)]
mod tests {
    use bowerbird_core::memory::MemoryStores;

    use super::*;

    #[tokio::test]
    async fn an_app_that_was_mended_is_warned_of_for_thirty_days() {
        let store = MemoryStores::new().older_contract;
        let now = Timestamp::from_seconds(1_767_225_600);
        let at = |days: i64| now.plus_seconds(days * 86_400);
        store.note("old://auth", at(-31)).await.unwrap();
        store.note("app://auth", at(-30).plus_millis(1)).await.unwrap();
        store.note("new://auth", now).await.unwrap();
        let warned = older_contract_warnings(store.as_ref(), now).await.unwrap();
        assert_eq!(warned.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["new://auth", "app://auth"]);
        assert_eq!(older_contract_warnings(store.as_ref(), at(31)).await.unwrap(), []);
    }
}
