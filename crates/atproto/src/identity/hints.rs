//! Resolvers that save a walk but are never believed: a fixed XRPC host, and Slingshot.
//!
//! Each gives a DID for a handle. Whoever uses it must still find the handle claimed in that DID's document.

use bowerbird_core::ports::{HttpClient, Purpose};
use bowerbird_core::{Did, Handle};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use url::Url;

#[derive(Deserialize)]
struct HintAnswer {
    did: String,
}

/// Which resolver a URL belongs to.
#[derive(Clone, Debug)]
pub(super) enum Hint {
    /// `com.atproto.identity.resolveHandle` at a fixed host.
    Xrpc(Url),
    /// `com.bad-example.identity.resolveMiniDoc` at a Slingshot.
    Slingshot(Url),
}

impl Hint {
    /// Asks; None for every kind of failure, since a hint that fails is just no hint.
    pub(super) async fn ask(&self, http: &dyn HttpClient, handle: &Handle) -> Option<Did> {
        let request = Request::get(self.url(handle)).header(http::header::ACCEPT, "application/json");
        let response = http.send(request.body(Bytes::new()).ok()?, Purpose::Document).await;
        let response =
            response.inspect_err(|error| tracing::debug!(%error, "a handle resolver did not answer")).ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let answer: HintAnswer = serde_json::from_slice(response.body()).ok()?;
        Did::parse(&answer.did).ok()
    }

    fn url(&self, handle: &Handle) -> String {
        // A handle consists of letters, digits, dots and hyphens: nothing to escape.
        match self {
            Self::Xrpc(base) => {
                format!("{}/xrpc/com.atproto.identity.resolveHandle?handle={handle}", trimmed(base))
            }
            Self::Slingshot(base) => {
                format!("{}/xrpc/com.bad-example.identity.resolveMiniDoc?identifier={handle}", trimmed(base))
            }
        }
    }
}

fn trimmed(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}
