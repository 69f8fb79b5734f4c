//! Leaving: one account of a device, or the whole device. The last device out gives the grant back (DECISIONS 7).

use std::sync::Arc;

use bowerbird_atproto::{Logins, SeenGrant};
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
    pub(crate) async fn sign_out(&self, device: &Arc<LiveDevice>) -> Result<(), StoreError> {
        let (departures, device) = (self.clone(), Arc::clone(device));
        to_the_end(async move {
            // Read before the row goes: a removed account is not named by anything else.
            let accounts = departures.accounts.all_on_device(&device).await?;
            let mut leaving = Vec::with_capacity(accounts.len());
            for account in accounts {
                leaving.push((account.id, departures.seen_grant(&account).await));
            }
            if departures.devices.sign_out(&device.session.id).await? == Cas::Done {
                for (account, seen) in leaving {
                    departures.release_if_last(account, seen).await;
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes one account off a device.
    pub(crate) async fn remove(&self, device: &Arc<LiveDevice>, account: &Arc<Account>) -> Result<Cas, StoreError> {
        let (departures, device, account) = (self.clone(), Arc::clone(device), Arc::clone(account));
        to_the_end(async move {
            let seen = departures.seen_grant(&account).await;
            let done = departures.devices.remove_account(&device.session.id, account.id).await?;
            if done == Cas::Done {
                departures.release_if_last(account.id, seen).await;
            }
            Ok(done)
        })
        .await
    }

    /// Whether the device has no account besides this one.
    pub(crate) fn is_last(device: &LiveDevice, account: AccountId) -> bool {
        device.session.accounts.iter().all(|entry| entry.account == account)
    }

    /// Looked at before the device's row goes; see [`Logins::release`].
    async fn seen_grant(&self, account: &Account) -> Option<SeenGrant> {
        self.logins.seen_grant(account).await.unwrap_or_else(|error| {
            tracing::warn!(account = %account.id, %error, "whether there is a grant to give back is not known");
            None
        })
    }

    /// The device is signed out either way: what fails here is for the log, not for the person.
    async fn release_if_last(&self, account: AccountId, seen: Option<SeenGrant>) {
        let Some(seen) = seen else { return };
        match self.devices.holds_anywhere(account).await {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = self.logins.release(seen).await {
                    tracing::warn!(%account, %error, "a grant could not be given back");
                }
            }
            Err(error) => tracing::warn!(%account, %error, "whether a grant is in use is not known"),
        }
    }
}

/// Runs on a task of its own: a browser that goes away in the middle must not leave a grant that no device holds.
async fn to_the_end<T: Send + 'static>(
    leaving: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(leaving).await.unwrap_or_else(|broken| Err(StoreError::Unavailable(broken.into())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn leaving_goes_on_when_the_browser_is_gone() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let leaving = to_the_end(async move {
            gone.await.unwrap();
            tell.send("the end").unwrap();
            Ok(())
        });
        tokio::time::timeout(Duration::from_millis(10), leaving).await.expect_err("the request is dropped half-way");
        go.send(()).unwrap();
        assert_eq!(told.await, Ok("the end"));
    }

    #[tokio::test]
    async fn a_leaving_that_breaks_is_an_error() {
        let broken = to_the_end::<()>(async { panic!("on purpose") }).await;
        assert!(matches!(broken, Err(StoreError::Unavailable(_))));
    }
}
