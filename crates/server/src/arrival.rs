//! The end of every sign-in, whichever way it came: the account is on the device, and its profile is on its way.

use bowerbird_atproto::Profiles;
use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, DeviceSession, DeviceSessionId, Did, SecurityEventKind};

use crate::accounts::Accounts;
use crate::device_sessions::DeviceSessions;
use crate::error::ApiError;
use crate::history::History;
use crate::sign_out::Departures;

/// Puts accounts on devices. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Arrivals {
    devices: DeviceSessions,
    accounts: Accounts,
    profiles: Profiles,
    history: History,
    departures: Departures,
}

/// Why an account that has signed in is on no device.
pub(crate) enum NoPlace {
    /// The device holds as many as it may.
    Full,
    Store(StoreError),
}

impl From<StoreError> for NoPlace {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoPlace> for ApiError {
    fn from(why: NoPlace) -> Self {
        match why {
            NoPlace::Full => Self::too_many_accounts(),
            NoPlace::Store(error) => error.into(),
        }
    }
}

impl Arrivals {
    pub(crate) fn new(
        devices: DeviceSessions,
        accounts: Accounts,
        profiles: Profiles,
        history: History,
        departures: Departures,
    ) -> Self {
        Self { devices, accounts, profiles, history, departures }
    }

    /// Whether the device has a place for an account: to be asked before anything is sent for it.
    pub(crate) async fn check_place(&self, device: Option<&DeviceSessionId>, did: &Did) -> Result<(), ApiError> {
        let Some(id) = device else { return Ok(()) };
        match self.devices.peek(id).await? {
            Some(device) => self.accounts.check_place(&device, did.as_str()).await,
            None => Ok(()),
        }
    }

    /// Adds an account that has just signed in to the device, or to a new one.
    pub(crate) async fn put(
        &self,
        account: &Account,
        device: Option<&DeviceSessionId>,
        device_name: &str,
    ) -> Result<DeviceSession, NoPlace> {
        self.accounts.changed(account.id).await;
        let session = self.place(account, device, device_name).await?;
        self.fetch_profile(account.clone());
        Ok(session)
    }

    /// The second half of [`Self::announce`]. Everything on the device moves to a session with a new name. A device that is
    /// full was noticed before the sign-in began, unless others were faster: then the account is turned away, and what it has
    /// just granted is given back.
    pub(crate) async fn place(
        &self,
        account: &Account,
        device: Option<&DeviceSessionId>,
        device_name: &str,
    ) -> Result<DeviceSession, NoPlace> {
        if let Some(id) = device
            && let Some(present) = self.devices.peek(id).await?
            && present.session.is_full_for(account.id)
        {
            self.departures.turn_away(account).await;
            return Err(NoPlace::Full);
        }
        let session = self.devices.sign_in(account.id, device, device_name).await?;
        self.history.note(account.id, SecurityEventKind::SignedIn, &session.device_name, "").await;
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
