//! The account manager: who is signed in on this device, and which of them is live.

use std::sync::Arc;

use bowerbird_core::{AccountId, Did};
use parking_lot::Mutex;

use crate::client::AccountClient;
use crate::error::KitError;
use crate::flights::Flights;
use crate::keys::StoreKey;
use crate::kit::{Kit, REFRESH_FAILED};
use crate::live::{Held, LiveClients};
use crate::roster::{Account, AccountKind, Roster, Shelf};
use crate::session::Session;
use crate::settings::{Ports, Settings};
use crate::sign_out::Gone;

/// Several accounts on one device. Cheap to clone; calls block, so make them off the thread that draws.
#[derive(Clone)]
pub struct AccountManager(pub(crate) Arc<Kit>);

/// How a removal ended. The account is gone from the device in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The server ended the session too.
    Everywhere,
    /// The server could not be told: it lets the session end by itself, or its person signs the device out elsewhere.
    OnThisDevice,
}

/// An account that one calls [`AccountManager::register`] with.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whose account it is.
    pub did: Did,
    /// Its handle.
    pub handle: String,
    /// The address of its server.
    pub pds: Option<String>,
}

impl AccountManager {
    /// Opens the manager on what the store has. Nothing is sent, and no seal is read.
    pub fn open(settings: Settings, ports: Ports) -> Result<Self, KitError> {
        let roster = Roster::read(&Shelf { store: &*ports.store, namespace: &settings.namespace })?;
        let live = Mutex::new(LiveClients::new(settings.live_clients));
        Ok(Self(Arc::new(Kit {
            settings,
            ports,
            roster: Mutex::new(roster),
            live,
            renewals: Flights::default(),
            #[cfg(feature = "on-device")]
            on_device: crate::on_device::OnDeviceState::default(),
        })))
    }

    /// Every account of this device, in the order in which they came.
    pub fn accounts(&self) -> Vec<Account> {
        self.0.roster.lock().accounts().to_vec()
    }

    /// The active account.
    pub fn active(&self) -> Option<Account> {
        let roster = self.0.roster.lock();
        roster.active().and_then(|id| roster.get(id).cloned())
    }

    /// Whether there is such an account here.
    pub fn contains(&self, id: AccountId) -> bool {
        self.0.roster.lock().get(id).is_some()
    }

    /// The account with this handle or DID.
    pub fn find(&self, who: &str) -> Option<Account> {
        let who = who.trim().trim_start_matches('@');
        let roster = self.0.roster.lock();
        let mut found = roster.accounts().iter();
        found.find(|account| account.did.as_str() == who || account.handle.eq_ignore_ascii_case(who)).cloned()
    }

    /// Makes an account the active one, at once and without the network, and releases what other ones hold in memory
    /// beyond [`Settings::with_live_clients`].
    pub fn activate(&self, id: AccountId) -> Result<AccountClient, KitError> {
        {
            let mut roster = self.0.roster.lock();
            roster.get(id).ok_or(KitError::UnknownAccount)?;
            roster.activate(&self.0.shelf(), id)?;
        }
        self.session_for(id)
    }

    /// A client for an account. It becomes live, with its seal in memory, at its first call.
    pub fn session_for(&self, id: AccountId) -> Result<AccountClient, KitError> {
        if self.contains(id) { Ok(AccountClient::new(self.0.clone(), id)) } else { Err(KitError::UnknownAccount) }
    }

    /// Takes an account in with a session that the server gave. One that is here already, by its DID, keeps its id.
    pub fn register(&self, identity: Identity, session: &Session) -> Result<Account, KitError> {
        let (kit, now) = (&self.0, self.0.ports.clock.now());
        let kept = session.to_secret()?;
        #[cfg(feature = "on-device")]
        let mut unsaved = kit.on_device.unsaved.lock();
        let mut roster = kit.roster.lock();
        let known = roster.by_did(&identity.did).map(|known| (known.id, known.added_at));
        if known.is_none() && roster.is_full() {
            return Err(KitError::TooManyAccounts);
        }
        let (id, added_at) = known.unwrap_or_else(|| (AccountId::random(&*kit.ports.entropy), now));
        let Identity { did, handle, pds } = identity;
        let (kind, session_ends_at, needs_sign_in) = (AccountKind::Server, None, None);
        let account = Account { id, did, handle, pds, kind, added_at, session_ends_at, needs_sign_in };
        roster.put(&kit.shelf(), account.clone())?;
        kit.shelf().save(StoreKey::Session(id), &kept)?;
        kit.live.lock().refresh(id, &Held::Session(Arc::new(session.clone())));
        #[cfg(feature = "on-device")]
        let grant = unsaved.remove(&id).map(|(_, newest)| newest).or_else(|| kit.shelf().grant(id).unwrap_or_default());
        // It may have been here with tokens that the device kept.
        kit.shelf().delete(StoreKey::Grant(id))?;
        #[cfg(feature = "on-device")]
        {
            drop((roster, unsaved));
            grant.map(|grant| kit.revoke_grant(&grant));
        }
        Ok(account)
    }

    /// Replaces an account's session; `false` when there is no such account, or none with a session of the server.
    pub fn update(&self, id: AccountId, session: &Session) -> Result<bool, KitError> {
        let mut roster = self.0.roster.lock();
        if roster.get(id).is_none_or(|account| account.kind != AccountKind::Server) {
            return Ok(false);
        }
        self.0.keep(&mut roster, id, &Arc::new(session.clone()))?;
        Ok(true)
    }

    /// Takes an account off this device, and tells the server, with one try. What is kept here is gone first.
    pub fn remove(&self, id: AccountId) -> Result<Removal, KitError> {
        let gone = {
            #[cfg(feature = "on-device")]
            let mut unsaved = self.0.on_device.unsaved.lock();
            let mut roster = self.0.roster.lock();
            roster.get(id).ok_or(KitError::UnknownAccount)?;
            let gone = Gone {
                // What cannot be read cannot be told about, and goes all the same.
                session: self.0.shelf().session(id).unwrap_or_default(),
                #[cfg(feature = "on-device")]
                grant: match unsaved.get(&id) {
                    Some((_, newest)) => Some(newest.clone()),
                    None => self.0.shelf().grant(id).unwrap_or_default(),
                },
            };
            self.0.live.lock().forget(id);
            roster.remove(&self.0.shelf(), id)?;
            #[cfg(feature = "on-device")]
            unsaved.remove(&id);
            gone
        };
        Ok(self.0.tell_of(&gone))
    }

    /// Takes every account off this device. The first fault of the store ends it.
    pub fn remove_all(&self) -> Result<Vec<Removal>, KitError> {
        let ids: Vec<AccountId> = self.accounts().iter().map(|account| account.id).collect();
        self.0.shelf().delete(StoreKey::SignIn)?;
        self.0.shelf().delete(StoreKey::DeviceSignIn)?;
        ids.into_iter().map(|id| self.remove(id)).collect()
    }

    /// The accounts whose seals are in memory, most recently used first.
    pub fn live(&self) -> Vec<AccountId> {
        self.0.live.lock().ids()
    }

    /// Renews every session that is due, active or not, one after the other, without making any account live. For the
    /// app's background task. What went wrong stands beside each account; nothing of one keeps another from its turn.
    pub fn renew_due(&self) -> Vec<(AccountId, Result<(), KitError>)> {
        let now = self.0.ports.clock.now();
        let mut outcomes = Vec::new();
        for account in self.accounts() {
            if account.needs_sign_in.is_some_and(|reason| reason != REFRESH_FAILED) {
                continue;
            }
            if account.kind == AccountKind::OnDevice {
                outcomes.extend(self.0.renew_due_on_device(account.id).map(|outcome| (account.id, outcome)));
                continue;
            }
            let outcome = match self.0.shelf().session(account.id) {
                Ok(Some(session)) if session.is_due(now) => self.0.renew(account.id, &session).map(drop),
                Ok(Some(_)) => continue,
                Ok(None) => Err(self.0.ask_for_sign_in(account.id, "signed_out", None)),
                Err(fault) => Err(fault.into()),
            };
            outcomes.push((account.id, outcome));
        }
        outcomes
    }
}
