//! From what a person typed to an account that points back, asked by the device itself (AT Protocol specifications "Handle"
//! and "DID").

use bowerbird_core::identity::{Identity, TwoDids, did_of_records, handle_record_name, web_document_url};
use bowerbird_core::{Did, DidMethod, Handle};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use url::Url;

use super::dns::{MEDIA_TYPE, txt_question, txt_records};
use super::fetch::{Patience, failed};
use super::{OnDevice, OnDeviceFault};
use crate::error::KitError;
use crate::kit::Kit;

/// What one way of asking for a handle's DID gave.
enum Said {
    Did(Did),
    /// It answered that there is none.
    Nothing,
    /// It did not answer.
    Silent(KitError),
}

impl Kit {
    /// The account of a handle, verified in both directions. Nothing is remembered: a sign-in is rare, and must not begin with
    /// what was true yesterday.
    pub(super) fn resolve_handle(&self, app: &OnDevice, handle: &Handle) -> Result<Identity, KitError> {
        let hinted = match &app.handle_resolver {
            Some(server) => self.did_by_server(app, server, handle),
            None => Said::Silent(OnDeviceFault::HandleNotFound(handle.to_string()).into()),
        };
        if let Said::Did(did) = &hinted {
            // A hint that does not hold is no hint; the handle itself is asked then.
            if let Ok(identity) = self.claiming(app, did, handle) {
                return Ok(identity);
            }
        }
        let by_dns = match &app.dns_over_https {
            Some(resolver) => self.did_by_dns(app, resolver, handle)?,
            None => Said::Silent(OnDeviceFault::HandleNotFound(handle.to_string()).into()),
        };
        if let Said::Did(did) = by_dns {
            return self.claiming(app, &did, handle);
        }
        match self.did_by_https(app, handle)? {
            Said::Did(did) => self.claiming(app, &did, handle),
            // The network is there, since somebody answered: the handle has no host, so it is nobody's.
            Said::Silent(silence) if matches!((&hinted, &by_dns), (Said::Silent(_), Said::Silent(_))) => Err(silence),
            Said::Silent(_) | Said::Nothing => Err(OnDeviceFault::HandleNotFound(handle.to_string()).into()),
        }
    }

    /// The account of a DID, as its directory describes it now.
    pub(super) fn resolve_did(&self, app: &OnDevice, did: &Did) -> Result<Identity, KitError> {
        let address = match did.method().map_err(|_| OnDeviceFault::DidUnsupported)? {
            DidMethod::Plc => Some(format!("{}/{did}", app.plc_directory.as_str().trim_end_matches('/'))),
            DidMethod::Web => web_document_url(did, &app.transport),
        };
        let url = address.and_then(|address| Url::parse(&address).ok()).ok_or(OnDeviceFault::DidUnsupported)?;
        let answer = self.fetch(app, &url, "application/did+ld+json, application/json", Patience::Documented)?;
        match answer.status() {
            StatusCode::OK => {
                Ok(Identity::from_document(answer.body(), did, &app.transport, None)
                    .map_err(OnDeviceFault::Document)?)
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(OnDeviceFault::AccountNotFound.into()),
            status => Err(failed(status.as_u16(), "the account's directory has a problem; please try again later")),
        }
    }

    /// The handle that may be shown for an account: the one it claims, if that points back, else [`Handle::INVALID`].
    pub(super) fn shown_handle(&self, app: &OnDevice, identity: &Identity) -> String {
        let Some(handle) = &identity.claimed_handle else { return Handle::INVALID.to_owned() };
        match self.resolve_handle(app, handle) {
            Ok(found) if found.did == identity.did => handle.to_string(),
            _ => Handle::INVALID.to_owned(),
        }
    }

    fn claiming(&self, app: &OnDevice, did: &Did, handle: &Handle) -> Result<Identity, KitError> {
        let identity = self.resolve_did(app, did)?;
        if identity.claimed_handle.as_ref() == Some(handle) {
            Ok(identity)
        } else {
            Err(OnDeviceFault::HandleNotClaimed(handle.to_string()).into())
        }
    }

    /// `com.atproto.identity.resolveHandle` at the server that the app named.
    fn did_by_server(&self, app: &OnDevice, server: &Url, handle: &Handle) -> Said {
        #[derive(Deserialize)]
        struct Resolved {
            did: Did,
        }
        let base = server.as_str().trim_end_matches('/');
        // A handle consists of letters, digits, dots and hyphens: nothing to escape.
        let address = format!("{base}/xrpc/com.atproto.identity.resolveHandle?handle={handle}");
        let Ok(url) = Url::parse(&address) else { return Said::Nothing };
        match self.fetch(app, &url, "application/json", Patience::Once) {
            Ok(answer) if answer.status() == StatusCode::OK => {
                serde_json::from_slice(answer.body()).map_or(Said::Nothing, |Resolved { did }| Said::Did(did))
            }
            Ok(answer) if answer.status().is_client_error() => Said::Nothing,
            Ok(answer) => Said::Silent(failed(answer.status().as_u16(), "the handle resolver has a problem")),
            Err(error) => Said::Silent(error),
        }
    }

    /// The TXT records of `_atproto.<handle>`.
    fn did_by_dns(&self, app: &OnDevice, resolver: &Url, handle: &Handle) -> Result<Said, KitError> {
        let Some(name) = handle_record_name(handle) else { return Ok(Said::Nothing) };
        let mut question = Request::new(Bytes::from(txt_question(&name)));
        *question.method_mut() = Method::POST;
        question.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        question.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        let answer = match self.ask(app, resolver, question, Patience::Once) {
            Ok(answer) => answer,
            Err(error) => return Ok(Said::Silent(error)),
        };
        let silent = || Said::Silent(failed(answer.status().as_u16(), "the DNS resolver has a problem"));
        if answer.status() != StatusCode::OK {
            return Ok(silent());
        }
        let Ok(records) = txt_records(answer.body()) else { return Ok(silent()) };
        match did_of_records(records.iter().map(String::as_str)) {
            Ok(Some(did)) => Ok(Said::Did(did)),
            Ok(None) => Ok(Said::Nothing),
            Err(TwoDids) => Err(OnDeviceFault::HandleAmbiguous(handle.to_string()).into()),
        }
    }

    /// `https://<handle>/.well-known/atproto-did`. Redirects are not followed: a handle's host speaks for itself.
    fn did_by_https(&self, app: &OnDevice, handle: &Handle) -> Result<Said, KitError> {
        let url = Url::parse(&format!("https://{handle}/.well-known/atproto-did"));
        let Ok(url) = url else { return Ok(Said::Nothing) };
        let answer = match self.fetch(app, &url, "text/plain", Patience::Once) {
            Ok(answer) => answer,
            Err(error @ KitError::OnDevice(_)) => return Err(error),
            Err(error) => return Ok(Said::Silent(error)),
        };
        if answer.status().is_server_error() {
            return Ok(Said::Silent(failed(answer.status().as_u16(), "the handle's host has a problem")));
        }
        let text = std::str::from_utf8(answer.body()).unwrap_or_default().trim();
        let did = Did::parse(text).ok().filter(|_| answer.status().is_success());
        Ok(did.map_or(Said::Nothing, Said::Did))
    }
}
