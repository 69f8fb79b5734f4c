//! The end of every sign-in, whichever way it came: the account is on the device, and its profile is on its way.

use bowerbird_atproto::Profiles;
use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, DeviceSession, DeviceSessionId};

use crate::accounts::Accounts;
use crate::device_sessions::DeviceSessions;

/// Puts accounts on devices. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Arrivals {
    devices: DeviceSessions,
    accounts: Accounts,
    profiles: Profiles,
}

impl Arrivals {
    pub(crate) fn new(devices: DeviceSessions, accounts: Accounts, profiles: Profiles) -> Self {
        Self { devices, accounts, profiles }
    }

    /// Adds an account that has just signed in to the device, or to a new one. Everything on the device moves to a
    /// session with a new name.
    pub(crate) async fn put(
        &self,
        account: &Account,
        device: Option<&DeviceSessionId>,
        device_name: &str,
    ) -> Result<DeviceSession, StoreError> {
        self.accounts.changed(account.id).await;
        let session = self.devices.sign_in(account.id, device, device_name).await?;
        self.fetch_profile(account.clone());
        Ok(session)
    }

    /// The same for an account whose device is still to come: an app fetches the sign-in later.
    pub(crate) async fn announce(&self, account: &Account) {
        self.accounts.changed(account.id).await;
        self.fetch_profile(account.clone());
    }

    /// In the background: a slow server must not keep anybody from signing in.
    fn fetch_profile(&self, account: Account) {
        let (profiles, accounts) = (self.profiles.clone(), self.accounts.clone());
        tokio::spawn(async move {
            match profiles.fetch(&account).await {
                Ok(profile) => {
                    if let Err(error) = accounts.set_profile(account.id, &profile).await {
                        tracing::warn!(account = %account.id, %error, "a profile could not be stored");
                    }
                }
                Err(error) => tracing::debug!(account = %account.id, %error, "a profile could not be read"),
            }
        });
    }
}
