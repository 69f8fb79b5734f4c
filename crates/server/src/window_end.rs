//! What came of a sign-in in a window, for a page that its window cannot tell: the pages of many servers, the published PDS
//! among them, cut a window off from the page that opened it (row A-036). It waits in that browser, in a cookie, and is given
//! to pages of exactly the origin that the window would have told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::Timestamp;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cookies;
use crate::pages::OpenerResult;
use crate::site::Site;

/// The longest value of the cookie that is read.
const MAX_VALUE: usize = 2_048;

/// What the window would have told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct WindowEndBody {
    /// `oauth-callback`.
    r#type: String,
    /// Whether somebody signed in.
    success: bool,
    /// Who: the DID.
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<String>,
    /// Who: the handle.
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    /// Why nobody did: a code, such as `access_denied`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When, in milliseconds since 1970.
    timestamp: i64,
}

/// The same, and who may hear of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowEnd {
    origin: String,
    end: WindowEndBody,
}

impl WindowEnd {
    pub(crate) fn of(origin: &str, result: &OpenerResult<'_>, now: Timestamp) -> Self {
        let (signed_in, error) = match result {
            OpenerResult::SignedIn { did, handle } => (Some(((*did).to_owned(), (*handle).to_owned())), None),
            OpenerResult::Failed { code, .. } => (None, Some((*code).to_owned())),
        };
        let success = signed_in.is_some();
        let (did, handle) = signed_in.unzip();
        let end = WindowEndBody {
            r#type: "oauth-callback".to_owned(),
            success,
            did,
            handle,
            error,
            timestamp: now.as_millis(),
        };
        Self { origin: origin.to_owned(), end }
    }

    /// The cookie; None where the page needs none, since it shares its storage with the window.
    pub(crate) fn cookie(&self, site: &Site) -> Option<HeaderValue> {
        if self.origin == site.origin {
            return None;
        }
        let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        cookies::set_window_end(site, &value).filter(|_| value.len() <= MAX_VALUE)
    }

    /// What the browser kept, if it is for whoever asks. Nothing hangs from it: a cookie can be planted, and who is signed in
    /// is said by the session.
    pub(crate) fn for_asker(headers: &HeaderMap, site: &Site) -> Option<WindowEndBody> {
        let value = cookies::window_end(headers, site).filter(|value| value.len() <= MAX_VALUE)?;
        let kept: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
        let mut origins = headers.get_all(ORIGIN).iter();
        let asks = origins.next().filter(|_| origins.next().is_none())?;
        (asks.as_bytes() == kept.origin.as_bytes()).then_some(kept.end)
    }
}
