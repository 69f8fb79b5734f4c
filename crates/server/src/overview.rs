//! The accounts of a device as lists show them, with how each one stands.

use std::sync::Arc;

use bowerbird_core::ports::{ConnectionStore, StoreError};
use bowerbird_core::{Account, AccountId, CredentialState, DeviceSession, Platform, RefreshClass, Timestamp};
use bowerbird_vault::{Standing, Vault};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Accounts;
use crate::device_sessions::LiveDevice;
use crate::site::Site;

/// Lists accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Overview {
    site: Site,
    accounts: Accounts,
    connections: Arc<dyn ConnectionStore>,
    vault: Vault,
}

/// An account of a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedAccount {
    /// The stable name.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: AccountId,
    /// The DID.
    #[schema(example = "did:plc:ewvi7nxzyoun6zhxrhs64oiz")]
    pub(crate) did: String,
    /// The handle; `handle.invalid` when it does not point back to the DID.
    #[schema(example = "alice.bsky.social")]
    pub(crate) handle: String,
    /// The display name.
    pub(crate) display_name: Option<String>,
    /// The address of the picture.
    pub(crate) avatar: Option<String>,
    /// Whether calls use this account unless they name another.
    pub(crate) active: bool,
    /// How it stands.
    pub(crate) status: AccountStatus,
    /// Why it needs the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// Where the person repairs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repair_url: Option<String>,
    /// How it signed in; left out when it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_type: Option<AuthType>,
    /// Where the person replaces an app password by OAuth. The account stays the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade_url: Option<String>,
    /// The access as it was granted, which may be less than was asked for.
    #[schema(example = "atproto transition:generic")]
    pub(crate) scope: Option<String>,
    /// The account's server.
    pub(crate) pds: String,
    /// When it was added to this device, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub(crate) added_at: Timestamp,
    /// When it last signed in here, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub(crate) last_login_at: Timestamp,
    #[serde(skip)]
    pub(crate) explanation: Option<&'static str>,
}

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountStatus {
    /// It can be used.
    Ok,
    /// Only the person can make it usable again.
    NeedsReauth,
}

/// How an account signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthType {
    /// By OAuth, at its own server.
    Oauth,
    /// With an app password.
    AppPassword,
}

impl From<RefreshClass> for AuthType {
    fn from(class: RefreshClass) -> Self {
        match class {
            RefreshClass::SingleUse => Self::Oauth,
            RefreshClass::Graceful => Self::AppPassword,
        }
    }
}

impl Overview {
    pub(crate) fn new(site: Site, accounts: Accounts, connections: Arc<dyn ConnectionStore>, vault: Vault) -> Self {
        Self { site, accounts, connections, vault }
    }

    /// The accounts of a device, oldest first.
    pub(crate) async fn of(&self, device: &LiveDevice) -> Result<Vec<ListedAccount>, StoreError> {
        let mut listed = Vec::with_capacity(device.session.accounts.len());
        for entry in &device.session.accounts {
            if let Some(account) = self.accounts.find(entry.account).await? {
                listed.push(self.list(&device.session, &account, entry.added_at).await?);
            }
        }
        Ok(listed)
    }

    /// One account of a device.
    pub(crate) async fn one(&self, device: &DeviceSession, account: &Account) -> Result<ListedAccount, StoreError> {
        let entry = device.accounts.iter().find(|entry| entry.account == account.id);
        self.list(device, account, entry.map_or(account.last_login_at, |entry| entry.added_at)).await
    }

    async fn list(
        &self,
        device: &DeviceSession,
        account: &Account,
        added_at: Timestamp,
    ) -> Result<ListedAccount, StoreError> {
        let standing = self.standing(account).await?;
        // A code and a sentence, when it needs the person.
        let trouble = match standing.as_ref().map(|standing| &standing.state) {
            Some(CredentialState::NeedsReauth(reason)) => Some((reason.code(), reason.explanation())),
            Some(_) => None,
            None => Some(NOT_CONNECTED),
        };
        let auth_type = standing.as_ref().map(|standing| AuthType::from(standing.class));
        Ok(ListedAccount {
            id: account.id,
            did: account.did.to_string(),
            handle: account.handle.clone(),
            display_name: account.profile.display_name.clone(),
            avatar: account.profile.avatar.clone(),
            active: device.active == Some(account.id),
            status: if trouble.is_some() { AccountStatus::NeedsReauth } else { AccountStatus::Ok },
            reason: trouble.map(|(code, _)| code),
            explanation: trouble.map(|(_, explanation)| explanation),
            repair_url: trouble.map(|_| self.site.repair_url(account.id)),
            auth_type,
            upgrade_url: self.site.upgrade_url(account.id, auth_type),
            scope: standing.map(|standing| standing.scope),
            pds: account.pds.clone(),
            added_at,
            last_login_at: account.last_login_at,
        })
    }

    /// What the vault knows of the account's grant.
    async fn standing(&self, account: &Account) -> Result<Option<Standing>, StoreError> {
        let connection = self.connections.find(account.id, &Platform::atproto(), account.did.as_str()).await?;
        match connection {
            Some(connection) => self.vault.standing(connection.id).await,
            None => Ok(None),
        }
    }
}

/// An account without a grant, such as after a sign-out that was interrupted.
pub(crate) const NOT_CONNECTED: (&str, &str) = ("not_connected", "This account is not signed in at its server.");
