//! What manager and clients share: the store, the list, the live sessions, and the one way to the server.

use std::sync::Arc;

use bowerbird_core::{AccountId, Secret};
use bowerbird_oauth::Origin;
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;

use crate::error::KitError;
use crate::flights::Flights;
use crate::handoff::Redirect;
use crate::keys::StoreKey;
use crate::live::{Held, LiveClients};
use crate::recovery::{Trouble, Try, persevere};
use crate::roster::{AccountKind, Roster, Shelf};
use crate::session::Session;
use crate::settings::{Ports, Settings};
use crate::store::StoreFault;
use crate::wire::{self, Meaning};

/// The server failed when the session had to be renewed.
pub(crate) const REFRESH_FAILED: &str = "refresh_failed";

pub(crate) struct Kit {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) roster: Mutex<Roster>,
    pub(crate) live: Mutex<LiveClients>,
    pub(crate) renewals: Flights<AccountId, Result<Arc<Session>, KitError>>,
    #[cfg(feature = "on-device")]
    pub(crate) on_device: crate::on_device::OnDeviceState,
}

impl Kit {
    pub(crate) fn shelf(&self) -> Shelf<'_> {
        Shelf { store: &*self.ports.store, namespace: &self.settings.namespace }
    }

    /// Who keeps the tokens of an account.
    pub(crate) fn kind(&self, id: AccountId) -> Result<AccountKind, KitError> {
        self.roster.lock().get(id).map(|account| account.kind).ok_or(KitError::UnknownAccount)
    }

    /// The session of an account, which becomes live by it.
    pub(crate) fn session(&self, id: AccountId) -> Result<Arc<Session>, KitError> {
        if let Some(Held::Session(session)) = self.live.lock().get(id) {
            return Ok(session);
        }
        let roster = self.roster.lock();
        let account = roster.get(id).ok_or(KitError::UnknownAccount)?;
        let Some(session) = self.shelf().session(id)? else {
            let reason = account.needs_sign_in.clone().unwrap_or_else(|| "signed_out".to_owned());
            return Err(KitError::SignInRequired { account: id, reason, repair_url: None });
        };
        let session = Arc::new(session);
        self.live.lock().put(id, Held::Session(session.clone()));
        Ok(session)
    }

    /// Saves a session; only then it may be used.
    pub(crate) fn keep(&self, roster: &mut Roster, id: AccountId, session: &Arc<Session>) -> Result<(), StoreFault> {
        self.shelf().save(StoreKey::Session(id), &session.to_secret()?)?;
        self.live.lock().refresh(id, &Held::Session(session.clone()));
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
                self.live.lock().refresh(id, &Held::Session(kept.clone()));
                return Ok(kept);
            }
            let now = self.ports.clock.now();
            let request = wire::renew(self.origin()?, &kept)?;
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

    /// The server's address.
    pub(crate) fn origin(&self) -> Result<&Origin, KitError> {
        self.settings.server.as_ref().map(|(origin, _)| origin).ok_or_else(no_server)
    }

    /// Where its sign-ins come back to.
    pub(crate) fn redirect(&self) -> Result<&Redirect, KitError> {
        self.settings.server.as_ref().map(|(_, redirect)| redirect).ok_or_else(no_server)
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

fn no_server() -> KitError {
    KitError::mistake("no server is configured; see Settings::new")
}
