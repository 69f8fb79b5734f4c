//! Storing what a sign-in brought, whichever way it came: the account, its own connection, the credential.

use std::sync::Arc;

use bowerbird_core::ports::{NewAccount, StoreError};
use bowerbird_core::{Account, AccountId, Connection, ConnectionId, Platform, RefreshClass, Secret, SecretBytes};
use bowerbird_vault::{GrantError, Granted, NewGrant, OpenedGrant};

use super::LoginParts;
use crate::identity::Identity;

/// What a sign-in brought.
pub(crate) struct NewTokens {
    pub(crate) issuer: String,
    pub(crate) client_kid: Option<String>,
    pub(crate) refresh_class: RefreshClass,
    /// None for plain bearer tokens.
    pub(crate) dpop_key: Option<SecretBytes>,
    pub(crate) access_token: Secret,
    pub(crate) refresh_token: Option<Secret>,
    /// Seconds.
    pub(crate) expires_in: i64,
    pub(crate) scope: String,
}

/// Why it was not stored. The tokens are the caller's to end.
#[derive(Debug)]
pub(crate) enum KeepError {
    Store(StoreError),
    Grant(GrantError),
}

impl LoginParts {
    /// Stores account, connection and credential, and ends in the background what they replace.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        identity: &Identity,
        handle: String,
        tokens: NewTokens,
    ) -> Result<(Account, Connection), KeepError> {
        let new = self.stores.accounts.find_by_did(&identity.did).await.map_err(KeepError::Store)?.is_none();
        let account = self
            .stores
            .accounts
            .sign_in(NewAccount {
                id: AccountId::random(self.entropy.as_ref()),
                did: identity.did.clone(),
                handle,
                pds: identity.pds.as_str().to_owned(),
                now: self.clock.now(),
            })
            .await
            .map_err(KeepError::Store)?;
        let issuer = tokens.issuer.clone();
        let ours = (tokens.refresh_token.clone(), tokens.access_token.clone());
        let kept = self.keep_grant(tokens, identity, &account).await;
        let (connection, granted) = match kept {
            Ok(kept) => kept,
            Err(fault) => {
                // Nothing half-stored: this login made the row. If that fails too, an account without a credential
                // stays, which the next login completes. Another login of the same account may have been faster with
                // the rest: what it stored is its own.
                if new && self.has_no_grant(&account).await {
                    let _removed = self.stores.accounts.remove(account.id).await;
                }
                return Err(fault);
            }
        };
        tracing::info!(account = %account.id, did = %account.did, issuer, "signed in");
        if let Some(replaced) = granted.replaced.filter(|old| !is_same_grant(old, ours.0.as_ref(), &ours.1)) {
            let parts = Arc::clone(self);
            tokio::spawn(async move { parts.revoke_opened(&replaced).await });
        }
        Ok((account, connection))
    }

    async fn keep_grant(
        &self,
        tokens: NewTokens,
        identity: &Identity,
        account: &Account,
    ) -> Result<(Connection, Granted), KeepError> {
        let connection = Connection {
            id: ConnectionId::random(self.entropy.as_ref()),
            account: account.id,
            platform: Platform::atproto(),
            subject: identity.did.to_string(),
            created_at: self.clock.now(),
        };
        let connection = self.stores.connections.ensure(&connection).await.map_err(KeepError::Store)?;
        let grant = NewGrant {
            connection: connection.id,
            account: account.id,
            subject: identity.did.clone(),
            issuer: tokens.issuer,
            audience: identity.pds.as_str().to_owned(),
            client_kid: tokens.client_kid,
            refresh_class: tokens.refresh_class,
            dpop_key: tokens.dpop_key,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_in: tokens.expires_in,
            scope: tokens.scope,
        };
        let granted = self.vault.grant(grant).await.map_err(KeepError::Grant)?;
        Ok((connection, granted))
    }

    /// Whether it is certain that the account holds no grant.
    async fn has_no_grant(&self, account: &Account) -> bool {
        match self.stores.connections.find(account.id, &Platform::atproto(), account.did.as_str()).await {
            Ok(Some(connection)) => matches!(self.vault.standing(connection.id).await, Ok(None)),
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

/// A server that gives the same grant again would see its own new grant revoked.
fn is_same_grant(old: &OpenedGrant, refresh_token: Option<&Secret>, access_token: &Secret) -> bool {
    let same = |old: Option<&Secret>, new: Option<&Secret>| match (old, new) {
        (Some(old), Some(new)) => old.matches(new.expose()),
        _ => false,
    };
    same(old.refresh_token.as_ref(), refresh_token) || same(Some(&old.access_token), Some(access_token))
}
