//! The three steps of a sign-in: begin, open a browser, complete.

use bowerbird_core::Secret;
use serde::Deserialize;
use url::Url;

use crate::error::KitError;
use crate::handoff::{CallbackFault, SignInUnderWay};
use crate::keys::StoreKey;
use crate::manager::{AccountManager, Identity};
use crate::roster::Account;
use crate::wire::{self, Meaning};

/// A sign-in that waits for the person in a browser.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// What to open in the system's browser (`ASWebAuthenticationSession`, a Custom Tab), never in a web view of the app.
    pub auth_url: String,
    /// The handle as the server verified it, where one was given.
    pub handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    auth_url: String,
    handle: Option<String>,
}

impl AccountManager {
    /// Begins a sign-in with a handle, a DID or the address of a server. The next one takes the place of this one.
    pub fn begin_sign_in(&self, handle: &str) -> Result<SignIn, KitError> {
        let kit = &self.0;
        let sign_in = SignInUnderWay { verifier: kit.pkce(), started_at: kit.ports.clock.now(), codes_tried: 0 };
        // Before anything is sent: the browser may come back to another process of this app.
        kit.keep_sign_in(&sign_in)?;
        let request = wire::start(kit.origin()?, kit.redirect()?, handle.trim(), &sign_in.verifier.challenge())?;
        let answer = kit.send(&request, true)?;
        let Started { auth_url, handle } = answered(&answer)?;
        // It is opened by a browser, so it must be for one.
        let for_a_browser = Url::parse(&auth_url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if for_a_browser { Ok(SignIn { auth_url, handle }) } else { Err(wire::unreadable(&answer)) }
    }

    /// Begins a sign-in at the server's own page, where the person types the handle. Nothing is sent.
    pub fn begin_sign_in_page(&self) -> Result<SignIn, KitError> {
        let kit = &self.0;
        let sign_in = SignInUnderWay { verifier: kit.pkce(), started_at: kit.ports.clock.now(), codes_tried: 0 };
        kit.keep_sign_in(&sign_in)?;
        let mut page = kit.origin()?.at_path("/mobile-auth");
        page.query_pairs_mut()
            .append_pair("code_challenge", &sign_in.verifier.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("redirect_uri", kit.redirect()?.as_str());
        Ok(SignIn { auth_url: page.into(), handle: None })
    }

    /// Completes the sign-in with the address that came back: exchanges its code, and takes the account in.
    ///
    /// The active account stays the active one, unless this is the first. When the account was here already, its session
    /// of before is ended.
    pub fn complete_sign_in(&self, callback: &str) -> Result<Account, KitError> {
        let kit = &self.0;
        // Read before anything is taken: an address that some other program made up ends no sign-in of ours.
        let read = kit.redirect()?.read(callback);
        if let Err(fault @ (CallbackFault::NotOurs | CallbackFault::Malformed | CallbackFault::TokenInUrl)) = read {
            return Err(fault.into());
        }
        let now = kit.ports.clock.now();
        let Some(mut sign_in) = kit.sign_in_under_way()?.filter(|sign_in| sign_in.is_alive(now)) else {
            kit.end_sign_in()?;
            return Err(CallbackFault::NotStarted.into());
        };
        let code: Secret = match read {
            Ok(code) => code,
            Err(refused) => {
                kit.end_sign_in()?;
                return Err(refused.into());
            }
        };
        // A code of a stranger does not match our verifier. It must not end the sign-in, nor may it try without end.
        sign_in.codes_tried += 1;
        kit.keep_sign_in(&sign_in)?;
        let request = wire::exchange(kit.origin()?, &code, sign_in.verifier.secret())?;
        let answer = kit.send(&request, true)?;
        let tokens = match wire::meaning(&answer) {
            Meaning::Answer if answer.status().is_success() => wire::read_tokens(&answer, now)?,
            _ => return Err(refused(&answer)),
        };
        let before =
            self.find(tokens.did.as_str()).map(|known| kit.shelf().session(known.id)).transpose().unwrap_or_default();
        let identity = Identity { did: tokens.did, handle: tokens.handle, pds: tokens.pds };
        let account = self.register(identity, &tokens.session)?;
        kit.end_sign_in()?;
        if let Some(before) = before.flatten() {
            // Nobody holds it any more; it would stand in the person's list of devices until it ends by itself.
            kit.sign_out(&before);
        }
        Ok(account)
    }

    /// The person closed the browser: ends a sign-in of either kind.
    pub fn cancel_sign_in(&self) -> Result<(), KitError> {
        self.0.shelf().delete(StoreKey::DeviceSignIn)?;
        Ok(self.0.end_sign_in()?)
    }
}

fn answered<'a, T: Deserialize<'a>>(answer: &'a http::Response<bytes::Bytes>) -> Result<T, KitError> {
    if answer.status().is_success() { wire::read(answer) } else { Err(refused(answer)) }
}

fn refused(answer: &http::Response<bytes::Bytes>) -> KitError {
    KitError::Refused(Box::new(wire::refusal(answer, "")))
}
