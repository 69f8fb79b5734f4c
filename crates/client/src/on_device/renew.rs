//! Refreshing a grant: by one request, however many callers want it, and never so that a crash loses what nobody else holds.
//!
//! The refresh token works once, and a server may end the whole sign-in when it comes a second time. So it is noted that it is
//! on its way before the first byte leaves, and the answer is saved before anything looks at it. What was on its way when the app
//! was stopped is in doubt: then the access token of before is used as long as it works, and the refresh token is sent once more
//! when nothing else is left. Nothing is deleted on doubt.

use std::sync::Arc;

use bowerbird_core::{AccountId, Did, Timestamp};
use bowerbird_oauth::{AuthorizationServerMetadata, ExpectedAnswer, GrantFate, Secret, TokenAnswer, TokenRequest};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};

use super::as_call::{AsCallFault, AsPeer};
use super::complete::token_fault;
use super::fetch::Patience;
use super::grant::{Grant, Standing};
use super::{OnDevice, OnDeviceFault};
use crate::error::{KitError, Refusal};
use crate::keys::StoreKey;
use crate::kit::Kit;
use crate::live::Held;
use crate::recovery::{Trouble, Try, persevere};
use crate::store::StoreFault;

/// After an answer that did not come, the server may still be at it for this long: two requests at once end the sign-in.
const SETTLE_MILLIS: i64 = 60_000;
/// An access token with less than this left is not begun a call with, in seconds.
const TOO_SHORT: i64 = 30;

/// The refresh token was sent, and its answer never came; nobody has its successor.
const LOST_RESPONSE: &str = "lost_response";
/// The server says that the access has ended.
const REVOKED: &str = "revoked";
/// The fourteen days are over.
const SESSION_EXPIRED: &str = "session_expired";
/// The account lives where another authorization server speaks for it.
const MOVED: &str = "moved";
/// The server gave tokens that cannot be used.
const ANSWER_REFUSED: &str = "answer_refused";
/// The server gave nothing to refresh by, and the access token has ended.
const NO_REFRESH_TOKEN: &str = "no_refresh_token";

/// Why a refresh is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The access token ends soon; it may still work.
    Due,
    /// It works no more, or the app wants another one.
    Needed,
}

impl Kit {
    /// The grant of an account, which becomes live by it.
    pub(super) fn grant(&self, id: AccountId) -> Result<Arc<Grant>, KitError> {
        if let Some(Held::Grant(grant)) = self.live.lock().get(id) {
            return Ok(grant);
        }
        let reason = self.roster.lock().get(id).ok_or(KitError::UnknownAccount)?.needs_sign_in.clone();
        let Some(grant) = self.shelf().grant(id)? else {
            let reason = reason.unwrap_or_else(|| "signed_out".to_owned());
            return Err(KitError::SignInRequired { account: id, reason, repair_url: None });
        };
        let grant = Arc::new(grant);
        self.live.lock().put(id, Held::Grant(grant.clone()));
        Ok(grant)
    }

    /// A grant with which a call may be begun.
    pub(super) fn fresh_grant(&self, id: AccountId) -> Result<Arc<Grant>, KitError> {
        let grant = self.grant(id)?;
        let now = self.ports.clock.now();
        if !grant.is_due(now) {
            return Ok(grant);
        }
        if grant.ends_within(now, TOO_SHORT) {
            return self.refresh(id, &grant, Why::Needed);
        }
        match self.refresh(id, &grant, Why::Due) {
            // It is still good for this call, whatever became of its successor.
            Err(KitError::UnknownAccount) => Err(KitError::UnknownAccount),
            Err(_) => Ok(grant),
            refreshed => refreshed,
        }
    }

    /// Gets a grant in the place of one that is due or was refused: by one request, however many callers ask.
    pub(super) fn refresh(&self, id: AccountId, old: &Grant, why: Why) -> Result<Arc<Grant>, KitError> {
        let refresh = || self.on_device.refreshes.join(id, || self.refresh_alone(id, old, why));
        match refresh() {
            // Another caller's flight was satisfied with a grant that this one needs to see replaced.
            Ok(same) if why == Why::Needed && same.is(old) => refresh(),
            landed => landed,
        }
    }

    fn refresh_alone(&self, id: AccountId, old: &Grant, why: Why) -> Result<Arc<Grant>, KitError> {
        let (app, now) = (self.app()?, self.ports.clock.now());
        let did = self.roster.lock().get(id).ok_or(KitError::UnknownAccount)?.did.clone();
        self.save_unsaved(id)?;
        let Some(kept) = self.shelf().grant(id)? else {
            return Err(self.ask_for_sign_in(id, "signed_out", None));
        };
        if !kept.is(old) {
            // Somebody was faster: another thread, an extension of the app, or a new sign-in.
            let kept = Arc::new(kept);
            self.live.lock().refresh(id, &Held::Grant(kept.clone()));
            return Ok(kept);
        }
        let Some(refresh_token) = self.may_be_sent(id, &kept, why, now)? else { return Ok(Arc::new(kept)) };
        let (kept, server) = self.still_at_home(app, id, &did, kept)?;
        self.know_nonce(app, &server)?;
        let again = kept.standing != Standing::Good;
        // Before the first byte leaves. If this cannot be written, nothing is sent.
        let sending = kept.standing(Standing::Sending { since: self.ports.clock.now(), again });
        if !self.replace(id, &kept, &sending)? {
            return Err(unsettled());
        }
        let answer = self.send_refresh(&server, &kept, refresh_token);
        self.settle(id, &did, &kept, &server, answer)
    }

    /// The refresh token, if it may be sent now; `None` when the access token does for the moment.
    fn may_be_sent(&self, id: AccountId, kept: &Grant, why: Why, now: Timestamp) -> Result<Option<Secret>, KitError> {
        match &kept.standing {
            Standing::Over(reason) => return Err(self.ask_for_sign_in(id, reason, None)),
            // In doubt. The call that is about to be made tells more than anything: while the old token works, nothing is sent.
            Standing::Sending { .. } if why == Why::Due => return Ok(None),
            Standing::Sending { again: true, .. } => return Err(self.end_grant(id, kept, LOST_RESPONSE)?),
            Standing::Sending { since, .. } if (0..SETTLE_MILLIS).contains(&now.millis_since(*since)) => {
                return Err(unsettled());
            }
            Standing::Sending { .. } | Standing::Good => {}
        }
        match &kept.refresh_token {
            Some(refresh_token) => Ok(Some(refresh_token.clone())),
            None if why == Why::Due => Ok(None),
            None => Err(self.end_grant(id, kept, NO_REFRESH_TOKEN)?),
        }
    }

    /// Asks again who speaks for the account: a refresh token goes to nobody but who gave it. An account may have moved to
    /// another server of the same one.
    fn still_at_home(
        &self,
        app: &OnDevice,
        id: AccountId,
        did: &Did,
        kept: Grant,
    ) -> Result<(Grant, AuthorizationServerMetadata), KitError> {
        match self.walk(app, did, &kept.issuer) {
            Ok((identity, server)) => Ok((Grant { pds: identity.pds.as_str().to_owned(), ..kept }, server)),
            Err(KitError::OnDevice(fault)) if matches!(*fault, OnDeviceFault::IssuerMismatch { .. }) => {
                Err(self.end_grant(id, &kept, MOVED)?)
            }
            Err(error) => Err(error),
        }
    }

    /// Any answer of the server brings a nonce, a refusal too. With it, the request that matters passes at once.
    fn know_nonce(&self, app: &OnDevice, server: &AuthorizationServerMetadata) -> Result<(), KitError> {
        if self.on_device.peers.nonce(server.issuer.as_str()).is_some() {
            return Ok(());
        }
        let mut empty = Request::new(Bytes::new());
        *empty.method_mut() = Method::POST;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        empty.headers_mut().insert(CONTENT_TYPE, form);
        let endpoint = server.pushed_authorization_request_endpoint.url();
        self.ask(app, endpoint, empty, Patience::Documented).map(drop)
    }

    /// Sends it, and once more only when it surely never left.
    fn send_refresh(
        &self,
        server: &AuthorizationServerMetadata,
        kept: &Grant,
        refresh_token: Secret,
    ) -> Result<Response<Bytes>, AsCallFault> {
        let request = TokenRequest::RefreshToken { refresh_token };
        let peer = AsPeer { server, client_id: &kept.client_id, dpop_key: &kept.dpop_key };
        persevere(&*self.ports.pause, || {
            match self.call_issuer(&peer, |attempt| request.to_http(&server.token_endpoint, attempt)) {
                Err(AsCallFault::Transport(fault)) if !fault.may_have_arrived => {
                    Try::Again(Trouble::Network, AsCallFault::Transport(fault))
                }
                outcome => Try::Over(outcome),
            }
        })
    }

    /// Writes down what came of it, before anybody looks at it.
    fn settle(
        &self,
        id: AccountId,
        did: &Did,
        kept: &Grant,
        server: &AuthorizationServerMetadata,
        answer: Result<Response<Bytes>, AsCallFault>,
    ) -> Result<Arc<Grant>, KitError> {
        let (fate, error) = match answer {
            Ok(answer) => match TokenAnswer::read(&answer) {
                Ok(tokens) => return self.take(id, did, kept, server, &tokens),
                Err(fault) => (fault.grant_fate(), token_fault(fault)),
            },
            Err(AsCallFault::Transport(fault)) if fault.may_have_arrived => {
                (GrantFate::Unknown, KitError::Offline(fault))
            }
            Err(fault) => (GrantFate::NotConsumed, fault.into()),
        };
        match fate {
            // As it was before, also when it was in doubt before.
            GrantFate::NotConsumed => self.replace(id, kept, kept).map(drop)?,
            GrantFate::Refused => {
                let over = self.ports.clock.now() >= kept.session_ends_at();
                let reason = match kept.standing {
                    Standing::Good if over => SESSION_EXPIRED,
                    Standing::Good => REVOKED,
                    _ => LOST_RESPONSE,
                };
                return Err(self.end_grant(id, kept, reason)?);
            }
            GrantFate::Unknown => {
                let again = kept.standing != Standing::Good;
                let doubt = Standing::Sending { since: self.ports.clock.now(), again };
                // The mark of before stands anyway; this only moves its time.
                if let Err(fault) = self.replace(id, kept, &kept.standing(doubt)) {
                    tracing::info!(%fault, "the time of an open refresh could not be noted");
                }
            }
        }
        Err(temporary(error))
    }

    /// Keeps the successor, whatever it is like: it is the only one there is. Only then it is judged by what it holds.
    fn take(
        &self,
        id: AccountId,
        did: &Did,
        kept: &Grant,
        server: &AuthorizationServerMetadata,
        tokens: &TokenAnswer,
    ) -> Result<Arc<Grant>, KitError> {
        let now = self.ports.clock.now();
        let judged = tokens.validate(&ExpectedAnswer { sub: Some(did.as_str()) });
        let life = judged.as_ref().map_or(0, |good| i64::from(good.expires_in));
        let standing = match &judged {
            Ok(_) => Standing::Good,
            Err(_) => Standing::Over(ANSWER_REFUSED.to_owned()),
        };
        let successor = Grant {
            access_token: tokens.access_token.clone().unwrap_or_else(|| kept.access_token.clone()),
            refresh_token: tokens.refresh_token.clone().or_else(|| kept.refresh_token.clone()),
            scope: tokens.scope.clone().unwrap_or_else(|| kept.scope.clone()),
            issued_at: now,
            expires_at: now.plus_seconds(life),
            standing,
            ..kept.clone()
        };
        match self.replace(id, kept, &successor) {
            Ok(true) => {}
            Ok(false) => {
                // The account was removed meanwhile, or somebody signed in again: nobody will come for this one.
                let peer = AsPeer { server, client_id: &kept.client_id, dpop_key: &kept.dpop_key };
                self.revoke(&peer, successor.refresh_token.as_ref(), Some(&successor.access_token));
                return match self.shelf().grant(id)? {
                    Some(newer) if self.roster.lock().get(id).is_some() => Ok(Arc::new(newer)),
                    _ => Err(KitError::UnknownAccount),
                };
            }
            Err(fault) => {
                // It lives in memory until the store takes it; nobody gets it before.
                self.on_device.unsaved.lock().insert(id, (kept.clone(), successor));
                return Err(fault.into());
            }
        }
        if let Err(fault) = judged {
            tracing::warn!(%fault, "a refresh brought tokens that cannot be used");
            return Err(self.ask_for_sign_in(id, ANSWER_REFUSED, None));
        }
        // It is good again, whatever the person was asked before.
        if let Err(fault) = self.roster.lock().mark(&self.shelf(), id, None) {
            tracing::info!(%fault, "an account could not be marked as good again");
        }
        Ok(Arc::new(successor))
    }

    /// Saves a successor that the store did not take when it came.
    pub(super) fn save_unsaved(&self, id: AccountId) -> Result<(), StoreFault> {
        let mut unsaved = self.on_device.unsaved.lock();
        let Some((from, successor)) = unsaved.get(&id) else { return Ok(()) };
        self.replace(id, from, successor)?;
        unsaved.remove(&id);
        Ok(())
    }

    /// Puts a grant in the place of the one that it comes from. False when that one is no longer there: then nothing is written.
    fn replace(&self, id: AccountId, from: &Grant, to: &Grant) -> Result<bool, StoreFault> {
        let roster = self.roster.lock();
        let there = self.shelf().grant(id)?.filter(|there| roster.get(id).is_some() && there.is(from));
        if there.is_none() {
            return Ok(false);
        }
        self.shelf().save(StoreKey::Grant(id), &to.to_secret()?)?;
        self.live.lock().refresh(id, &Held::Grant(Arc::new(to.clone())));
        Ok(true)
    }

    /// The grant refreshes no more. It stays, for the sign-out, and its access token is used as long as that works.
    fn end_grant(&self, id: AccountId, kept: &Grant, reason: &str) -> Result<KitError, KitError> {
        if self.replace(id, kept, &kept.standing(Standing::Over(reason.to_owned())))? {
            Ok(self.ask_for_sign_in(id, reason, None))
        } else {
            // There is another one by now, which is not over.
            Ok(unsettled())
        }
    }
}

/// The last refresh's outcome is not known yet.
fn unsettled() -> KitError {
    let message = "the last answer of the account's server was lost; please try again in a minute";
    with_code(0, "refresh_unsettled", message)
}

/// A refusal that ended nothing: the same refresh may succeed later.
fn temporary(error: KitError) -> KitError {
    let message = "the account's server did not renew the sign-in; please try again later";
    match error {
        KitError::OnDevice(fault) => match &*fault {
            OnDeviceFault::Refused { status, code } => with_code(*status, code, message),
            other => with_code(0, other.code(), message),
        },
        other => other,
    }
}

fn with_code(status: u16, code: &str, message: &str) -> KitError {
    let (code, message) = (code.to_owned(), message.to_owned());
    KitError::Server(Box::new(Refusal { status, code, message, ..Refusal::default() }))
}
