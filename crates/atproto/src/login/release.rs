//! The end: the last device is gone.

use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, Connection, ConnectionId, Generation, Platform};
use bowerbird_vault::{OpenedGrant, RemoveError};

use super::Logins;
use super::revoke::PATIENCE;

/// Why a grant could not be let go. It is still there.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The store did not answer.
    #[error("the sign-out could not be completed right now; try again")]
    Store(#[from] StoreError),
    /// The vault could not look at the credential, or others were changing it.
    #[error("the sign-out could not be completed right now; try again")]
    Vault(#[from] RemoveError),
}

/// The grant that somebody looked at, by name: what a sign-out gives back, and nothing that came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenGrant {
    connection: ConnectionId,
    granted: Generation,
}

impl Logins {
    /// Looks which grant an account's own identity has now; None when there is none.
    pub async fn seen_grant(&self, account: &Account) -> Result<Option<SeenGrant>, StoreError> {
        let Some(connection) = self.own_connection(account).await? else { return Ok(None) };
        let standing = self.parts.vault.standing(connection.id).await?;
        Ok(standing.map(|standing| SeenGrant { connection: connection.id, granted: standing.granted }))
    }

    /// Removes the credential that was seen, and revokes it at its issuer in the background. The account row stays. A
    /// credential that is gone is fine.
    ///
    /// Look ([`Logins::seen_grant`]) before the device's row goes: a login of the same account stores its grant first
    /// and its device row a moment later. In that moment no device holds the account, although the grant is in use;
    /// but it is another grant than the one that was seen, and stays. What this does not cover is a login that stored
    /// its grant just before the look and is slower than the whole sign-out; its person must sign in again.
    pub async fn release(&self, seen: SeenGrant) -> Result<(), ReleaseError> {
        let removed = self.parts.vault.remove_granted(seen.connection, seen.granted).await?;
        if let Some(grant) = removed {
            let parts = Arc::clone(&self.parts);
            tokio::spawn(async move { parts.revoke_opened(&grant).await });
        }
        Ok(())
    }

    /// Removes the credential of an account's own identity, whichever it is, and waits for the issuer a few seconds:
    /// for whoever removes the account itself, and for a program that may end right after.
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
        let Some(connection) = self.own_connection(account).await? else { return Ok(None) };
        Ok(self.parts.vault.remove(connection.id).await?)
    }

    async fn own_connection(&self, account: &Account) -> Result<Option<Connection>, StoreError> {
        let connections = &self.parts.stores.connections;
        connections.find(account.id, &Platform::atproto(), account.did.as_str()).await
    }
}
