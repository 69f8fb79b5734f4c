//! The end: the last device is gone.

use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, Platform};
use bowerbird_vault::{OpenError, OpenedGrant};

use super::Logins;
use super::revoke::PATIENCE;

/// Why a grant could not be let go. It is still there.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The store did not answer.
    #[error("the sign-out could not be completed right now; try again")]
    Store(#[from] StoreError),
    /// The vault could not look at the credential.
    #[error("the sign-out could not be completed right now; try again")]
    Vault(#[from] OpenError),
}

impl Logins {
    /// Removes the credential of an account's own identity, and revokes it at its issuer in the background. The account
    /// row stays. An account without a credential is fine.
    pub async fn release(&self, account: &Account) -> Result<(), ReleaseError> {
        if let Some(grant) = self.let_go(account).await? {
            let parts = Arc::clone(&self.parts);
            tokio::spawn(async move { parts.revoke_opened(&grant).await });
        }
        Ok(())
    }

    /// The same, and waits for the issuer a few seconds: for a program that may end right after.
    pub async fn release_and_wait(&self, account: &Account) -> Result<(), ReleaseError> {
        if let Some(grant) = self.let_go(account).await? {
            let revoked = tokio::time::timeout(PATIENCE, self.parts.revoke_opened(&grant)).await;
            if revoked.is_err() {
                tracing::warn!(issuer = grant.issuer, "a grant was not revoked in time");
            }
        }
        Ok(())
    }

    async fn let_go(&self, account: &Account) -> Result<Option<OpenedGrant>, ReleaseError> {
        let stores = &self.parts.stores;
        let connection = stores.connections.find(account.id, &Platform::atproto(), account.did.as_str()).await?;
        let Some(connection) = connection else { return Ok(None) };
        Ok(self.parts.vault.remove(connection.id).await?)
    }
}
