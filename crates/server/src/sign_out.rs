//! Leaving: one account of a device, or the whole device. The last device out gives the grant back (DECISIONS 7).

use std::sync::Arc;

use bowerbird_atproto::Logins;
use bowerbird_core::ports::{Cas, StoreError};
use bowerbird_core::{Account, AccountId};

use crate::accounts::Accounts;
use crate::device_sessions::{DeviceSessions, LiveDevice};

/// The use cases of leaving. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Departures {
    devices: DeviceSessions,
    accounts: Accounts,
    logins: Logins,
}

impl Departures {
    pub(crate) fn new(devices: DeviceSessions, accounts: Accounts, logins: Logins) -> Self {
        Self { devices, accounts, logins }
    }

    /// Signs a device out, whether it is still signed in or not.
    pub(crate) async fn sign_out(&self, device: &LiveDevice) -> Result<(), StoreError> {
        // Read before the row goes: a removed account is not named by anything else.
        let accounts = self.accounts.all_on_device(device).await?;
        if self.devices.sign_out(&device.session.id).await? == Cas::Done {
            for account in accounts {
                self.release_if_last(&account).await;
            }
        }
        Ok(())
    }

    /// Takes one account off a device.
    pub(crate) async fn remove(&self, device: &LiveDevice, account: &Arc<Account>) -> Result<Cas, StoreError> {
        let done = self.devices.remove_account(&device.session.id, account.id).await?;
        if done == Cas::Done {
            self.release_if_last(account).await;
        }
        Ok(done)
    }

    /// Whether the device has no account besides this one.
    pub(crate) fn is_last(device: &LiveDevice, account: AccountId) -> bool {
        device.session.accounts.iter().all(|entry| entry.account == account)
    }

    /// The device is signed out either way: what fails here is for the log, not for the person.
    async fn release_if_last(&self, account: &Account) {
        match self.devices.holds_anywhere(account.id).await {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = self.logins.release(account).await {
                    tracing::warn!(account = %account.id, %error, "a grant could not be given back");
                }
            }
            Err(error) => tracing::warn!(account = %account.id, %error, "whether a grant is in use is not known"),
        }
    }
}
