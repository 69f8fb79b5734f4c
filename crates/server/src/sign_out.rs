//! Leaving: one account of a device, the whole device, or other devices of the same accounts. The last device out gives the
//! grant back (DECISIONS 7).

use std::sync::Arc;

use bowerbird_atproto::{Logins, SeenGrant};
use bowerbird_core::ports::{Cas, StoreError};
use bowerbird_core::{Account, AccountId, DeviceSession, SecurityEventKind};

use crate::accounts::Accounts;
use crate::device_sessions::{DeviceSessions, LiveDevice};
use crate::devices::{device_tag, holding};
use crate::history::History;

/// How often other devices are looked for before somebody who signs them out is told to try again: a device that signs in
/// meanwhile has another name.
const PASSES: usize = 16;

/// The use cases of leaving. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Departures {
    devices: DeviceSessions,
    accounts: Accounts,
    logins: Logins,
    history: History,
}

/// Which devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All but the one that asks.
    Others,
    /// That one too.
    All,
}

impl Departures {
    pub(crate) fn new(devices: DeviceSessions, accounts: Accounts, logins: Logins, history: History) -> Self {
        Self { devices, accounts, logins, history }
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
                    departures.left(account, &device.session, None, seen).await;
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes one account off a device.
    pub(crate) async fn remove(&self, device: &Arc<LiveDevice>, account: &Arc<Account>) -> Result<Cas, StoreError> {
        let (departures, device, account) = (self.clone(), Arc::clone(device), Arc::clone(account));
        to_the_end(async move { departures.take_off(&device.session, &account, None).await }).await
    }

    /// Takes accounts, which are all on `here`, off the device of that tag. Stale when that device holds none of them.
    pub(crate) async fn end_device(
        &self,
        here: &Arc<LiveDevice>,
        accounts: Vec<Arc<Account>>,
        tag: &str,
    ) -> Result<Cas, StoreError> {
        let (departures, here, tag) = (self.clone(), Arc::clone(here), tag.to_owned());
        to_the_end(async move {
            let held = holding(&departures.devices, &accounts).await?;
            let Some(device) = held.values().find(|device| device_tag(&device.id) == tag) else {
                return Ok(Cas::Stale);
            };
            let left = departures.take_all_off(device, &accounts, &here.session).await?;
            Ok(if left == 0 { Cas::Stale } else { Cas::Done })
        })
        .await
    }

    /// Takes accounts, which are all on `here`, off other devices; off `here` last, so that whoever is stopped half-way can
    /// go on. Returns how many devices were left by them.
    pub(crate) async fn end_devices(
        &self,
        here: &Arc<LiveDevice>,
        accounts: Vec<Arc<Account>>,
        which: Which,
    ) -> Result<u64, StoreError> {
        let (departures, here) = (self.clone(), Arc::clone(here));
        to_the_end(async move {
            let mut ended = 0;
            for _ in 0..PASSES {
                let held = holding(&departures.devices, &accounts).await?;
                let is_other = |device: &&DeviceSession| device.id != here.session.id;
                let mut next: Vec<&DeviceSession> = held.values().filter(is_other).collect();
                if next.is_empty() && which == Which::All {
                    next = held.values().collect();
                }
                if next.is_empty() {
                    return Ok(ended);
                }
                for device in next {
                    if departures.take_all_off(device, &accounts, &here.session).await? > 0 {
                        ended += 1;
                    }
                }
            }
            Err(StoreError::Unavailable("devices sign in faster than they are signed out".into()))
        })
        .await
    }

    /// Lets go of the grant of an account that was refused a place on a device, unless another device holds it.
    pub(crate) async fn turn_away(&self, account: &Account) {
        let seen = self.seen_grant(account).await;
        self.release_if_last(account.id, seen).await;
    }

    /// Takes those of the accounts off a device that it holds; returns how many.
    async fn take_all_off(
        &self,
        device: &DeviceSession,
        accounts: &[Arc<Account>],
        by: &DeviceSession,
    ) -> Result<usize, StoreError> {
        let mut left = 0;
        for account in accounts.iter().filter(|account| device.holds(account.id)) {
            let by = Some(by).filter(|by| by.id != device.id);
            if self.take_off(device, account, by).await? == Cas::Done {
                left += 1;
            }
        }
        Ok(left)
    }

    async fn take_off(
        &self,
        device: &DeviceSession,
        account: &Account,
        by: Option<&DeviceSession>,
    ) -> Result<Cas, StoreError> {
        let seen = self.seen_grant(account).await;
        let done = self.devices.remove_account(&device.id, account.id).await?;
        if done == Cas::Done {
            self.left(account.id, device, by, seen).await;
        }
        Ok(done)
    }

    /// What follows when an account has left a device, by itself or by another device's doing.
    async fn left(
        &self,
        account: AccountId,
        device: &DeviceSession,
        by: Option<&DeviceSession>,
        seen: Option<SeenGrant>,
    ) {
        let kind = if by.is_some() { SecurityEventKind::SignedOutRemotely } else { SecurityEventKind::SignedOut };
        let by = by.map_or("", |by| by.device_name.as_str());
        self.history.note(account, kind, &device.device_name, by).await;
        self.release_if_last(account, seen).await;
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
