//! The answer to the session check, kept for a moment.
//!
//! Every check extends the session by a fresh seal (row A-012). An app that checks before every screen would make one
//! seal per request, each as good as the last: so the answer of a device is kept for 30 s, with the seal in it. It hangs
//! on the cached session and dies with it: switching, signing out and a login all drop it at once.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::Account;
use bytes::Bytes;
use http::HeaderValue;

use crate::cookies::SessionCookieName;

/// How long an answer is given again.
pub(crate) const KEPT: Duration = Duration::from_secs(30);

/// A finished answer.
pub(crate) struct RollingAnswer {
    /// The account as it was then: a new profile or handle needs a new answer.
    pub(crate) account: Arc<Account>,
    /// Under which name the seal goes back; None for a bearer, who gets no cookie.
    pub(crate) cookie: Option<SessionCookieName>,
    pub(crate) made_at: Duration,
    pub(crate) body: Bytes,
    pub(crate) set_cookie: Option<HeaderValue>,
}

impl RollingAnswer {
    /// Whether it still answers for this account, cookie and moment.
    pub(crate) fn fits(&self, account: &Arc<Account>, cookie: Option<SessionCookieName>, now: Duration) -> bool {
        // Read again unchanged, an account is another snapshot with the same content.
        let same = Arc::ptr_eq(&self.account, account) || self.account == *account;
        same && self.cookie == cookie && now.saturating_sub(self.made_at) < KEPT
    }
}
