//! One account's client: calls through the server, as that account.

use std::sync::Arc;

use bowerbird_core::{AccountId, Nsid, Timestamp};
use bowerbird_oauth::Origin;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Method, Request, Response};
use serde::Deserialize;

use crate::error::KitError;
use crate::kit::Kit;
use crate::roster::AccountKind;
use crate::session::Session;
use crate::wire::{self, Meaning};

/// A call to the account's own server, by its method name.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Such as `app.bsky.feed.getTimeline`.
    pub nsid: String,
    /// The parameters of the address.
    pub parameters: Vec<(String, String)>,
    /// What is sent, with its media type: then it is a procedure (POST), else a query (GET).
    pub body: Option<(String, Bytes)>,
    /// Which service the call is for, such as `did:web:api.bsky.app#bsky_appview`.
    pub service: Option<String>,
}

impl Call {
    /// A query.
    pub fn query(nsid: &str, parameters: &[(&str, &str)]) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self { nsid: nsid.to_owned(), parameters: parameters.iter().map(own).collect(), ..Self::default() }
    }

    /// A procedure with a JSON body.
    pub fn procedure(nsid: &str, body: &serde_json::Value) -> Self {
        let body = ("application/json".to_owned(), Bytes::from(body.to_string()));
        Self { nsid: nsid.to_owned(), body: Some(body), ..Self::default() }
    }

    /// The request for it at a server.
    pub(crate) fn request(&self, origin: &Origin) -> Result<Request<Bytes>, KitError> {
        let nsid = Nsid::parse(&self.nsid).map_err(|fault| KitError::Mistake(fault.to_string()))?;
        let mut url = origin.at_path(&format!("/xrpc/{nsid}"));
        if !self.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        let path = &url[url::Position::BeforePath..];
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = wire::request(method, origin, path, None)?;
        // Whatever it answers: pictures come this way too.
        request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Some((kind, body)) = &self.body {
            request.headers_mut().insert(CONTENT_TYPE, header(kind)?);
            *request.body_mut() = body.clone();
        }
        if let Some(service) = &self.service {
            request.headers_mut().insert(HeaderName::from_static("atproto-proxy"), header(service)?);
        }
        Ok(request)
    }
}

fn header(value: &str) -> Result<HeaderValue, KitError> {
    HeaderValue::from_str(value).map_err(|_| KitError::mistake("a header with characters that none may have"))
}

/// How an account stands at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The handle, as the server knows it now.
    pub handle: String,
    /// The display name.
    pub display_name: Option<String>,
    /// The address of the picture.
    pub avatar: Option<String>,
    /// When the session ends unless it is used again; for an account that the device keeps, when it ends in any case.
    pub expires_at: Option<Timestamp>,
}

/// Calls as one account. Cheap to clone. Its seal is in memory only while it is among the live ones; a client that was
/// released reads it again when it is used.
#[derive(Clone)]
pub struct AccountClient {
    kit: Arc<Kit>,
    id: AccountId,
}

impl AccountClient {
    pub(crate) fn new(kit: Arc<Kit>, id: AccountId) -> Self {
        Self { kit, id }
    }

    /// Whose client it is.
    pub fn account(&self) -> AccountId {
        self.id
    }

    /// Calls the account's own server. What that server answers is the answer, errors too.
    ///
    /// A query is tried again when it fails on the way. A procedure is not, unless it surely never arrived: a post that is
    /// made twice is worse than one that is not.
    pub fn call(&self, call: &Call) -> Result<Response<Bytes>, KitError> {
        if self.kit.kind(self.id)? == AccountKind::OnDevice {
            return self.kit.call_on_device(self.id, call);
        }
        let answer = self.signed(&call.request(self.kit.origin()?)?, call.body.is_none())?;
        if answer.status().is_success() {
            // Somebody may have repaired the account in a browser.
            self.kit.roster.lock().mark(&self.kit.shelf(), self.id, None)?;
        }
        Ok(answer)
    }

    /// Asks the server how the account stands, which also extends its session, and notes a new handle.
    pub fn check(&self) -> Result<Checked, KitError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            did: String,
            handle: String,
            display_name: Option<String>,
            avatar: Option<String>,
            expires_at: Option<Timestamp>,
        }
        if self.kit.kind(self.id)? == AccountKind::OnDevice {
            return self.kit.check_on_device(self.id);
        }
        let request = wire::request(Method::GET, self.kit.origin()?, "/api/auth/session", None)?;
        let answer = self.signed(&request, true)?;
        let Body { did, handle, display_name, avatar, expires_at } = wire::read(&answer)?;
        let mut roster = self.kit.roster.lock();
        let mut account = roster.get(self.id).cloned().ok_or(KitError::UnknownAccount)?;
        if account.did.as_str() != did {
            return Err(wire::unreadable(&answer));
        }
        if account.handle != handle {
            account.handle.clone_from(&handle);
            roster.put(&self.kit.shelf(), account)?;
        }
        Ok(Checked { handle, display_name, avatar, expires_at })
    }

    /// Renews the session now, whether it is due or not.
    pub fn renew(&self) -> Result<(), KitError> {
        if self.kit.kind(self.id)? == AccountKind::OnDevice {
            return self.kit.renew_on_device(self.id);
        }
        let session = self.kit.session(self.id)?;
        self.kit.renew_or_ask(self.id, &session).map(drop)
    }

    /// Sends with the seal; renews it first when that is due, and once more when it is refused.
    fn signed(&self, request: &Request<Bytes>, repeatable: bool) -> Result<Response<Bytes>, KitError> {
        let session = self.fresh_session()?;
        let answer = self.send_with(request, &session, repeatable)?;
        let Meaning::SealRefused = wire::meaning(&answer) else { return self.judged(answer) };
        // Refused at the door, so it was not carried out: it may be sent again, whatever it is.
        let session = self.kit.renew_or_ask(self.id, &session)?;
        let answer = self.send_with(request, &session, repeatable)?;
        match wire::meaning(&answer) {
            Meaning::SealRefused => Err(self.kit.forget_session(self.id, &session)),
            _ => self.judged(answer),
        }
    }

    fn fresh_session(&self) -> Result<Arc<Session>, KitError> {
        let session = self.kit.session(self.id)?;
        let now = self.kit.ports.clock.now();
        if !session.is_due(now) {
            return Ok(session);
        }
        if session.ends_within(now, 30) {
            return self.kit.renew_or_ask(self.id, &session);
        }
        match self.kit.renew(self.id, &session) {
            // It is still good for this call; the next one tries again.
            Err(error) if error.is_temporary() => Ok(session),
            renewed => renewed,
        }
    }

    fn send_with(
        &self,
        request: &Request<Bytes>,
        session: &Session,
        repeatable: bool,
    ) -> Result<Response<Bytes>, KitError> {
        let mut request = request.clone();
        wire::bearer(request.headers_mut(), &session.access_token)?;
        self.kit.send(&request, repeatable)
    }

    fn judged(&self, answer: Response<Bytes>) -> Result<Response<Bytes>, KitError> {
        match wire::meaning(&answer) {
            Meaning::NeedsReauth(refusal) => {
                let reason = refusal.reason.as_deref().unwrap_or("needs_reauth");
                Err(self.kit.ask_for_sign_in(self.id, reason, refusal.repair_url.clone()))
            }
            _ => Ok(answer),
        }
    }
}
