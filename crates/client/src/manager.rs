//! The account manager: who is signed in on this device, and which of them is live.

use std::sync::Arc;

use bowerbird_core::ports::Entropy;
use bowerbird_core::{AccountId, Did, Secret};
use bowerbird_oauth::{Origin, TransportPolicy};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use url::Url;

use crate::client::AccountClient;
use crate::error::KitError;
use crate::flights::Flights;
use crate::handoff::Redirect;
use crate::keys::{Namespace, StoreKey};
use crate::live::LiveClients;
use crate::ports::{Device, DeviceClock, Pause};
use crate::recovery::{Trouble, Try, persevere};
use crate::roster::{Account, Roster, Shelf};
use crate::session::Session;
use crate::store::{SecureStore, StoreFault};
use crate::transport::Transport;
use crate::wire::{self, Meaning};

/// The server failed when the session had to be renewed.
const REFRESH_FAILED: &str = "refresh_failed";

/// What an app configures.
#[derive(Clone, Debug)]
pub struct Settings {
    origin: Origin,
    redirect: Redirect,
    namespace: Namespace,
    live_clients: usize,
}

impl Settings {
    /// The server's address, the app's address that sign-ins come back to, and the app's name for its secrets.
    ///
    /// The server must be https; plain http is for one on this very device.
    pub fn new(server: &str, redirect: &str, namespace: &str) -> Result<Self, KitError> {
        let origin = Origin::parse(server, &transport_policy(server))
            .map_err(|fault| KitError::Mistake(format!("the server's address: {fault}")))?;
        let redirect = Redirect::parse(redirect)
            .ok_or_else(|| KitError::mistake("the redirect is no app scheme or https link"))?;
        let namespace = Namespace::parse(namespace).map_err(|fault| KitError::Mistake(fault.to_string()))?;
        Ok(Self { origin, redirect, namespace, live_clients: 1 })
    }

    /// How many accounts may have their seal in memory at once; one, unless an app shows several at a time.
    #[must_use]
    pub fn with_live_clients(self, live_clients: usize) -> Self {
        Self { live_clients, ..self }
    }

    /// The scheme by which a system browser knows the way back.
    pub fn callback_scheme(&self) -> &str {
        self.redirect.scheme()
    }
}

/// https for everybody; plain http only towards this device itself, for development.
fn transport_policy(server: &str) -> TransportPolicy {
    let loopback = Url::parse(server).ok().and_then(|url| {
        let host = url.host_str().filter(|host| matches!(*host, "127.0.0.1" | "localhost" | "[::1]"))?;
        Some(format!("{host}:{}", url.port_or_known_default()?))
    });
    TransportPolicy::with_plain_http(loopback)
}

/// What the kit needs of the device.
#[derive(Clone)]
pub struct Ports {
    /// Where secrets are kept.
    pub store: Arc<dyn SecureStore>,
    /// The way to the server.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Arc<dyn DeviceClock>,
    /// Waits between tries.
    pub pause: Arc<dyn Pause>,
    /// Makes ids and verifiers.
    pub entropy: Arc<dyn Entropy>,
}

impl Ports {
    /// The device's own clock, pauses and randomness, with this store and transport.
    pub fn new(store: impl SecureStore + 'static, transport: impl Transport + 'static) -> Self {
        Self {
            store: Arc::new(store),
            transport: Arc::new(transport),
            clock: Arc::new(Device),
            pause: Arc::new(Device),
            entropy: Arc::new(Device),
        }
    }
}

/// Several accounts on one device. Cheap to clone; calls block, so make them off the thread that draws.
#[derive(Clone)]
pub struct AccountManager(pub(crate) Arc<Kit>);

pub(crate) struct Kit {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) roster: Mutex<Roster>,
    pub(crate) live: Mutex<LiveClients>,
    pub(crate) renewals: Flights<AccountId, Result<Arc<Session>, KitError>>,
}

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
        let (roster, renewals) = (Mutex::new(roster), Flights::default());
        Ok(Self(Arc::new(Kit { settings, ports, roster, live, renewals })))
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
        let mut roster = kit.roster.lock();
        let known = roster.by_did(&identity.did).map(|known| (known.id, known.added_at));
        if known.is_none() && roster.is_full() {
            return Err(KitError::TooManyAccounts);
        }
        let (id, added_at) = known.unwrap_or_else(|| (AccountId::random(&*kit.ports.entropy), now));
        let Identity { did, handle, pds } = identity;
        let account = Account { id, did, handle, pds, added_at, needs_sign_in: None };
        roster.put(&kit.shelf(), account.clone())?;
        kit.shelf().save(StoreKey::Session(id), &kept)?;
        kit.live.lock().refresh(id, &Arc::new(session.clone()));
        Ok(account)
    }

    /// Replaces an account's session; `false` when there is no such account.
    pub fn update(&self, id: AccountId, session: &Session) -> Result<bool, KitError> {
        let mut roster = self.0.roster.lock();
        if roster.get(id).is_none() {
            return Ok(false);
        }
        self.0.keep(&mut roster, id, &Arc::new(session.clone()))?;
        Ok(true)
    }

    /// Takes an account off this device, and tells the server, with one try. What is kept here is gone first.
    pub fn remove(&self, id: AccountId) -> Result<Removal, KitError> {
        let session = {
            let mut roster = self.0.roster.lock();
            roster.get(id).ok_or(KitError::UnknownAccount)?;
            // A session that cannot be read cannot be told about, and goes all the same.
            let session = self.0.shelf().session(id).unwrap_or_default();
            self.0.live.lock().forget(id);
            roster.remove(&self.0.shelf(), id)?;
            session
        };
        Ok(session.map_or(Removal::OnThisDevice, |session| self.0.sign_out(&session)))
    }

    /// Takes every account off this device. The first fault of the store ends it.
    pub fn remove_all(&self) -> Result<Vec<Removal>, KitError> {
        let ids: Vec<AccountId> = self.accounts().iter().map(|account| account.id).collect();
        self.0.shelf().delete(StoreKey::SignIn)?;
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

impl Kit {
    pub(crate) fn shelf(&self) -> Shelf<'_> {
        Shelf { store: &*self.ports.store, namespace: &self.settings.namespace }
    }

    /// The session of an account, which becomes live by it.
    pub(crate) fn session(&self, id: AccountId) -> Result<Arc<Session>, KitError> {
        if let Some(session) = self.live.lock().get(id) {
            return Ok(session);
        }
        let roster = self.roster.lock();
        let account = roster.get(id).ok_or(KitError::UnknownAccount)?;
        let Some(session) = self.shelf().session(id)? else {
            let reason = account.needs_sign_in.clone().unwrap_or_else(|| "signed_out".to_owned());
            return Err(KitError::SignInRequired { account: id, reason, repair_url: None });
        };
        let session = Arc::new(session);
        self.live.lock().put(id, session.clone());
        Ok(session)
    }

    /// Saves a session; only then it may be used.
    fn keep(&self, roster: &mut Roster, id: AccountId, session: &Arc<Session>) -> Result<(), StoreFault> {
        self.shelf().save(StoreKey::Session(id), &session.to_secret()?)?;
        self.live.lock().refresh(id, session);
        roster.mark(&self.shelf(), id, None)
    }

    /// Gets a session in the place of one that is due or was refused: by one request, however many callers ask.
    pub(crate) fn renew(&self, id: AccountId, old: &Session) -> Result<Arc<Session>, KitError> {
        self.renewals.join(id, || {
            let Some(kept) = self.shelf().session(id)? else {
                return Err(self.ask_for_sign_in(id, "signed_out", None));
            };
            if !kept.access_token.matches(old.access_token.expose()) {
                // Somebody was faster: another thread, an extension of the app, or a new sign-in.
                let kept = Arc::new(kept);
                self.live.lock().refresh(id, &kept);
                return Ok(kept);
            }
            let now = self.ports.clock.now();
            let request = wire::renew(&self.settings.origin, &kept)?;
            match self.send(&request, true) {
                Ok(answer) if answer.status().is_success() => {
                    let renewed = Arc::new(wire::read_renewed(&answer, &kept, now)?);
                    let mut roster = self.roster.lock();
                    roster.get(id).ok_or(KitError::UnknownAccount)?; // removed meanwhile: nothing may come back
                    self.keep(&mut roster, id, &renewed)?;
                    Ok(renewed)
                }
                Ok(answer) => match wire::meaning(&answer) {
                    Meaning::SealRefused => Err(self.forget_session(id, &kept)),
                    _ => Err(wire::unreadable(&answer)),
                },
                Err(error) => Err(error),
            }
        })
    }

    /// The same, where nothing works without it. When the server only fails, the person is asked to sign in (row A-027);
    /// what is kept stays, in case the server comes back first.
    pub(crate) fn renew_or_ask(&self, id: AccountId, old: &Session) -> Result<Arc<Session>, KitError> {
        match self.renew(id, old) {
            Err(KitError::Server(_)) => Err(self.ask_for_sign_in(id, REFRESH_FAILED, None)),
            renewed => renewed,
        }
    }

    /// Row A-026: the server has refused the session, so it is cleared. One that came meanwhile stays.
    pub(crate) fn forget_session(&self, id: AccountId, refused: &Session) -> KitError {
        {
            let _roster = self.roster.lock();
            let kept = self.shelf().session(id).unwrap_or_default();
            if kept.is_some_and(|kept| kept.access_token.matches(refused.access_token.expose())) {
                self.live.lock().forget(id);
                if let Err(fault) = self.shelf().delete(StoreKey::Session(id)) {
                    return fault.into();
                }
            }
        }
        self.ask_for_sign_in(id, "session_invalid", None)
    }

    /// Marks the account, and makes the error that asks for a sign-in.
    pub(crate) fn ask_for_sign_in(&self, id: AccountId, reason: &str, repair_url: Option<String>) -> KitError {
        let marked = self.roster.lock().mark(&self.shelf(), id, Some(reason));
        match marked {
            Ok(()) => KitError::SignInRequired { account: id, reason: reason.to_owned(), repair_url },
            Err(fault) => fault.into(),
        }
    }

    /// Ends a session at the server, with one try, whose outcome is only told.
    pub(crate) fn sign_out(&self, session: &Session) -> Removal {
        match self.sign_out_once(session) {
            Ok(removal) => removal,
            Err(error) => {
                tracing::info!(%error, "the server could not be told of the sign-out");
                Removal::OnThisDevice
            }
        }
    }

    fn sign_out_once(&self, session: &Session) -> Result<Removal, KitError> {
        let status = self.log_out_with(session)?;
        if status != StatusCode::UNAUTHORIZED {
            return Ok(if status.is_success() { Removal::Everywhere } else { Removal::OnThisDevice });
        }
        // The seal has ended; what renews it lives as long as the session, so there is a session until that is refused too.
        if session.refresh_token.is_none() {
            return Ok(Removal::Everywhere);
        }
        let answer = self.ports.transport.send(wire::renew(self.origin(), session)?).map_err(KitError::Offline)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Ok(Removal::Everywhere);
        }
        if !answer.status().is_success() {
            return Ok(Removal::OnThisDevice);
        }
        let renewed = wire::read_renewed(&answer, session, self.ports.clock.now())?;
        let status = self.log_out_with(&renewed)?;
        Ok(if status.is_success() { Removal::Everywhere } else { Removal::OnThisDevice })
    }

    fn log_out_with(&self, session: &Session) -> Result<StatusCode, KitError> {
        let mut request = wire::request(Method::POST, self.origin(), "/api/auth/logout", None)?;
        wire::bearer(request.headers_mut(), &session.access_token)?;
        Ok(self.ports.transport.send(request).map_err(KitError::Offline)?.status())
    }

    /// Sends until there is an answer, with the documented pauses. `repeatable`: it does no harm to arrive twice.
    pub(crate) fn send(&self, request: &Request<Bytes>, repeatable: bool) -> Result<Response<Bytes>, KitError> {
        persevere(&*self.ports.pause, || {
            let answer = match self.ports.transport.send(request.clone()) {
                Ok(answer) => answer,
                Err(fault) if fault.may_have_arrived && !repeatable => {
                    return Try::Over(Err(KitError::Offline(fault)));
                }
                Err(fault) => {
                    tracing::info!(%fault, "the server was not reached");
                    return Try::Again(Trouble::Network, KitError::Offline(fault));
                }
            };
            match wire::meaning(&answer) {
                Meaning::Trouble(trouble, refusal) if repeatable => {
                    Try::Again(trouble, KitError::Server(Box::new(refusal)))
                }
                Meaning::Trouble(_, refusal) => Try::Over(Err(KitError::Server(Box::new(refusal)))),
                Meaning::Refused(refusal) => Try::Over(Err(KitError::Refused(Box::new(refusal)))),
                Meaning::Answer | Meaning::SealRefused | Meaning::NeedsReauth(_) => Try::Over(Ok(answer)),
            }
        })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.settings.origin
    }

    pub(crate) fn redirect(&self) -> &Redirect {
        &self.settings.redirect
    }

    pub(crate) fn pkce(&self) -> bowerbird_oauth::pkce::PkceVerifier {
        let mut entropy = [0; 64];
        self.ports.entropy.fill(&mut entropy);
        bowerbird_oauth::pkce::PkceVerifier::from_entropy(&entropy)
    }

    pub(crate) fn keep_sign_in(&self, sign_in: &crate::handoff::SignInUnderWay) -> Result<(), StoreFault> {
        self.shelf().save(StoreKey::SignIn, &sign_in.to_secret()?)
    }

    pub(crate) fn sign_in_under_way(&self) -> Result<Option<crate::handoff::SignInUnderWay>, StoreFault> {
        let kept: Option<Secret> = self.shelf().load(StoreKey::SignIn)?;
        Ok(kept.and_then(|kept| crate::handoff::SignInUnderWay::from_secret(&kept)))
    }

    pub(crate) fn end_sign_in(&self) -> Result<(), StoreFault> {
        self.shelf().delete(StoreKey::SignIn)
    }
}
