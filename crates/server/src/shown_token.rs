//! Access tokens for the eye of a developer (DECISIONS 4): only on a loopback address, only when switched on.

use std::sync::Arc;

use bowerbird_core::ports::ConnectionStore;
use bowerbird_core::{Account, Platform, Secret};
use bowerbird_vault::Vault;

/// Shows them, or never does. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ShownTokens(Option<Arc<Source>>);

struct Source {
    connections: Arc<dyn ConnectionStore>,
    vault: Vault,
}

impl ShownTokens {
    pub(crate) fn new(allowed: bool, connections: Arc<dyn ConnectionStore>, vault: Vault) -> Self {
        Self(allowed.then(|| Arc::new(Source { connections, vault })))
    }

    /// The access token of an account, if it may be shown and there is one.
    pub(crate) async fn access_token(&self, account: &Account) -> Option<Secret> {
        let source = self.0.as_ref()?;
        let found = source.connections.find(account.id, &Platform::atproto(), account.did.as_str()).await;
        let connection = found.ok().flatten()?;
        source.vault.checkout(connection.id).await.ok().map(|usable| usable.access_token.clone())
    }
}
