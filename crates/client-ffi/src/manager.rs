//! The account manager.

use std::sync::Arc;

use bowerbird_client as kit;

use crate::client::AccountClient;
use crate::error::{ClientError, id};
use crate::off_thread;
use crate::on_device::{AccountKind, OnDevice};
use crate::store::Store;
use crate::transport::{Custom, DeviceTransport, Pinned};

/// What an app configures.
#[derive(Clone, uniffi::Record)]
pub struct Settings {
    /// The server's address, https; plain http is for one on this very device. None for an app without a server.
    #[uniffi(default)]
    pub server: Option<String>,
    /// The app's address that sign-ins come back to, as the server has it in `BOWERBIRD_MOBILE_SCHEME`.
    #[uniffi(default)]
    pub redirect: Option<String>,
    /// The app's name for its secrets, such as `com.example.app`.
    pub namespace: String,
    /// Only certificates of these authorities (DER) are believed of the server; those of the public ones when it is empty.
    #[uniffi(default)]
    pub pinned_authorities: Vec<Vec<u8>>,
    /// For sign-ins at people's own servers, with tokens that this device keeps.
    #[uniffi(default)]
    pub on_device: Option<OnDevice>,
}

impl Settings {
    fn read(&self) -> Result<kit::Settings, ClientError> {
        let read = match (&self.server, &self.redirect) {
            (Some(server), Some(redirect)) => kit::Settings::new(server, redirect, &self.namespace)?,
            (None, None) => kit::Settings::without_server(&self.namespace)?,
            _ => {
                let detail = "a server needs a redirect, and the other way round".to_owned();
                return Err(ClientError::Mistake { detail });
            }
        };
        match &self.on_device {
            Some(app) => Ok(read.with_on_device(app.read()?)),
            None => Ok(read),
        }
    }
}

/// An account on this device.
#[derive(Clone, uniffi::Record)]
pub struct Account {
    /// Names it on this device: stays through a new sign-in and a change of handle.
    pub id: String,
    /// Whose it is.
    pub did: String,
    /// The handle, as of the last sign-in or check.
    pub handle: String,
    /// The address of its server.
    pub pds: Option<String>,
    /// Who keeps its tokens.
    pub kind: AccountKind,
    /// When it came to this device, in milliseconds since 1970.
    pub added_at: i64,
    /// When its sign-in ends at the latest, for one that the device keeps, in milliseconds since 1970.
    pub session_ends_at: Option<i64>,
    /// Why the person must sign in again, if so.
    pub needs_sign_in: Option<String>,
}

impl From<kit::Account> for Account {
    fn from(account: kit::Account) -> Self {
        let kit::Account { id, did, handle, pds, kind, added_at, session_ends_at, needs_sign_in } = account;
        let (id, did, added_at) = (id.to_string(), did.to_string(), added_at.as_millis());
        let session_ends_at = session_ends_at.map(kit::Timestamp::as_millis);
        Self { id, did, handle, pds, kind: kind.into(), added_at, session_ends_at, needs_sign_in }
    }
}

/// A sign-in that waits for the person in a browser.
#[derive(Clone, uniffi::Record)]
pub struct SignIn {
    /// What to open in the system's browser.
    pub auth_url: String,
    /// The handle as the server verified it.
    pub handle: Option<String>,
}

impl From<kit::SignIn> for SignIn {
    fn from(kit::SignIn { auth_url, handle }: kit::SignIn) -> Self {
        Self { auth_url, handle }
    }
}

/// How a removal ended. The account is gone from the device in either case.
#[derive(Clone, Copy, uniffi::Enum)]
pub enum Removal {
    /// The server ended the session too.
    Everywhere,
    /// The server could not be told.
    OnThisDevice,
}

impl From<kit::Removal> for Removal {
    fn from(removal: kit::Removal) -> Self {
        match removal {
            kit::Removal::Everywhere => Self::Everywhere,
            kit::Removal::OnThisDevice => Self::OnThisDevice,
        }
    }
}

/// How the renewal of an account went.
#[derive(Clone, uniffi::Record)]
pub struct Renewal {
    /// Which account.
    pub account: String,
    /// What went wrong, if something did.
    pub problem: Option<String>,
    /// Whether the person must sign in again.
    pub needs_sign_in: bool,
}

/// Several accounts on one device.
#[derive(uniffi::Object)]
pub struct AccountManager(kit::AccountManager);

#[uniffi::export]
impl AccountManager {
    /// Opens the manager on what the store has. Nothing is sent.
    #[uniffi::constructor]
    pub fn open(settings: Settings, store: Arc<Store>) -> Result<Arc<Self>, ClientError> {
        let transport = Pinned::new(settings.server.as_deref(), &settings.pinned_authorities);
        Self::with(&settings, &store, Arc::new(transport))
    }

    /// The same with the app's own HTTP client.
    #[uniffi::constructor]
    pub fn open_with_transport(
        settings: Settings,
        store: Arc<Store>,
        transport: Arc<dyn DeviceTransport>,
    ) -> Result<Arc<Self>, ClientError> {
        Self::with(&settings, &store, Arc::new(Custom(transport)))
    }

    /// Every account of this device, in the order in which they came.
    pub fn accounts(&self) -> Vec<Account> {
        self.0.accounts().into_iter().map(Account::from).collect()
    }

    /// The active account.
    pub fn active(&self) -> Option<Account> {
        self.0.active().map(Account::from)
    }

    /// Whether there is such an account here.
    pub fn contains(&self, account: String) -> bool {
        id(&account).is_ok_and(|id| self.0.contains(id))
    }

    /// The account with this handle or DID.
    pub fn find(&self, who: String) -> Option<Account> {
        self.0.find(&who).map(Account::from)
    }

    /// The accounts whose seals are in memory.
    pub fn live(&self) -> Vec<String> {
        self.0.live().iter().map(ToString::to_string).collect()
    }

    /// Makes an account the active one, without the network, and gives a client for it.
    pub async fn activate(self: Arc<Self>, account: String) -> Result<Arc<AccountClient>, ClientError> {
        off_thread(move || Ok(Arc::new(AccountClient(self.0.activate(id(&account)?)?)))).await
    }

    /// A client for an account, active or not.
    pub fn session_for(&self, account: String) -> Result<Arc<AccountClient>, ClientError> {
        Ok(Arc::new(AccountClient(self.0.session_for(id(&account)?)?)))
    }

    /// Begins a sign-in with a handle, a DID or the address of a server.
    pub async fn begin_sign_in(self: Arc<Self>, handle: String) -> Result<SignIn, ClientError> {
        off_thread(move || Ok(self.0.begin_sign_in(&handle)?.into())).await
    }

    /// Begins a sign-in at the server's own page, where the person types the handle.
    pub async fn begin_sign_in_page(self: Arc<Self>) -> Result<SignIn, ClientError> {
        off_thread(move || Ok(self.0.begin_sign_in_page()?.into())).await
    }

    /// Completes the sign-in with the address that came back.
    pub async fn complete_sign_in(self: Arc<Self>, callback: String) -> Result<Account, ClientError> {
        off_thread(move || Ok(self.0.complete_sign_in(&callback)?.into())).await
    }

    /// Begins a sign-in at the account's own server, with a handle, a DID or the address of a server.
    pub async fn begin_sign_in_on_device(self: Arc<Self>, who: String) -> Result<SignIn, ClientError> {
        off_thread(move || Ok(self.0.begin_sign_in_on_device(&who)?.into())).await
    }

    /// Begins with a new account at this server.
    pub async fn begin_sign_up_on_device(self: Arc<Self>, server: String) -> Result<SignIn, ClientError> {
        off_thread(move || Ok(self.0.begin_sign_up_on_device(&server)?.into())).await
    }

    /// Completes the sign-in at the account's own server with the address that came back.
    pub async fn complete_sign_in_on_device(self: Arc<Self>, callback: String) -> Result<Account, ClientError> {
        off_thread(move || Ok(self.0.complete_sign_in_on_device(&callback)?.into())).await
    }

    /// The person closed the browser.
    pub async fn cancel_sign_in(self: Arc<Self>) -> Result<(), ClientError> {
        off_thread(move || Ok(self.0.cancel_sign_in()?)).await
    }

    /// Renews every session that is due, active or not: for the app's background task.
    pub async fn renew_due(self: Arc<Self>) -> Result<Vec<Renewal>, ClientError> {
        off_thread(move || {
            let told = |(account, outcome): (kit::AccountId, Result<(), kit::KitError>)| Renewal {
                account: account.to_string(),
                needs_sign_in: matches!(outcome, Err(kit::KitError::SignInRequired { .. })),
                problem: outcome.err().map(|error| error.to_string()),
            };
            Ok(self.0.renew_due().into_iter().map(told).collect())
        })
        .await
    }

    /// Takes an account off this device, and tells the server.
    pub async fn remove(self: Arc<Self>, account: String) -> Result<Removal, ClientError> {
        off_thread(move || Ok(self.0.remove(id(&account)?)?.into())).await
    }

    /// Takes every account off this device.
    pub async fn remove_all(self: Arc<Self>) -> Result<Vec<Removal>, ClientError> {
        off_thread(move || Ok(self.0.remove_all()?.into_iter().map(Removal::from).collect())).await
    }
}

impl AccountManager {
    fn with(settings: &Settings, store: &Store, transport: Arc<dyn kit::Transport>) -> Result<Arc<Self>, ClientError> {
        let settings = settings.read()?;
        let ports = kit::Ports {
            store: store.0.clone(),
            transport,
            clock: Arc::new(kit::Device),
            pause: Arc::new(kit::Device),
            entropy: Arc::new(kit::Device),
        };
        Ok(Arc::new(Self(kit::AccountManager::open(settings, ports)?)))
    }
}
