//! Seals of device sessions: opened for every request, renewed as a session is used.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, Entropy};
use bowerbird_core::{Account, DeviceSession, DeviceSessionId, Secret, Timestamp};
use bowerbird_vault::{SealCache, SealPayload, SealRing};
use http::HeaderValue;

use crate::cookies::{self, SessionCookieName};
use crate::site::Site;

/// How many opened seals are kept at hand.
const CACHED: u64 = 100_000;

/// How long a seal for the next calls lasts, in milliseconds: an hour, and one more by which it is known. What a seal says
/// is iron-session's to read and has no place for it.
const BRIEF_MILLIS: i64 = 3_600_001;

/// Opens and makes seals. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Seals(Arc<Shared>);

/// Cloned for every request, so as one piece.
struct Shared {
    site: Site,
    cache: SealCache,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What a good seal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) device: DeviceSessionId,
    /// Whether it was made for the next calls alone, and renews nothing.
    pub(crate) is_brief: bool,
}

/// A seal that was just made.
pub(crate) struct FreshSeal {
    seal: Secret,
    /// When the session ends unless it is used again.
    pub(crate) expires_at: Timestamp,
    /// The same in seconds from now.
    pub(crate) max_age: i64,
}

impl Seals {
    pub(crate) fn new(site: Site, ring: SealRing, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self(Arc::new(Shared { site, cache: SealCache::new(Arc::new(ring), CACHED), clock, entropy }))
    }

    /// What a seal names; None for anything that is not a good seal, whatever is wrong with it.
    pub(crate) fn open(&self, text: &[u8]) -> Option<Named> {
        let text = std::str::from_utf8(text).ok()?;
        let opened = self.0.cache.open_cached(text, self.0.clock.now()).ok()?;
        let life = opened.expires_at.map(|end| end.millis_since(opened.payload.last_accessed));
        Some(Named { device: opened.payload.sid.clone(), is_brief: life == Some(BRIEF_MILLIS) })
    }

    /// Seals a device session anew, for its whole life from now.
    pub(crate) fn renew(&self, session: &DeviceSession, account: &Account) -> FreshSeal {
        let now = self.0.clock.now();
        self.seal(session, account, now, self.end_of(account, now))
    }

    /// Seals a device session for an hour, or for what is left of it.
    pub(crate) fn renew_briefly(&self, session: &DeviceSession, account: &Account) -> FreshSeal {
        let now = self.0.clock.now();
        self.seal(session, account, now, self.end_of(account, now).min(now.plus_millis(BRIEF_MILLIS)))
    }

    fn seal(&self, session: &DeviceSession, account: &Account, now: Timestamp, expires_at: Timestamp) -> FreshSeal {
        let payload = SealPayload {
            did: account.did.clone(),
            sid: session.id.clone(),
            created_at: session.created_at,
            last_accessed: now,
        };
        let left = expires_at.millis_since(now).max(1000);
        let ttl = Duration::from_millis(u64::try_from(left).unwrap_or(1000));
        let seal = self.0.cache.ring().seal(&payload, ttl, now, self.0.entropy.as_ref());
        FreshSeal { seal, expires_at, max_age: left / 1000 }
    }

    /// When a session ends that is used now. Never later than the grant of its active account (DECISIONS 15), as long
    /// as there is one: a session whose grant is over stays for the repair.
    fn end_of(&self, account: &Account, now: Timestamp) -> Timestamp {
        let rolling = now.plus_seconds(self.0.site.session_ttl);
        let grant_ends = account.last_login_at.plus_seconds(self.0.site.session_cap);
        if grant_ends > now { rolling.min(grant_ends) } else { rolling }
    }
}

impl FreshSeal {
    /// The text, for a client that holds its seal as a bearer.
    pub(crate) fn expose(&self) -> &str {
        self.seal.expose()
    }

    /// As a cookie of the given name.
    pub(crate) fn cookie(&self, site: &Site, name: SessionCookieName) -> Option<HeaderValue> {
        cookies::set_session(site, name, self.seal.expose(), self.max_age)
    }
}
