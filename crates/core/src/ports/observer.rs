//! What the vault tells about its work: events for people and figures for operators. Never a secret.

use std::fmt;
use std::time::Duration;

use super::AccessProbe;
use crate::{AccountId, ConnectionId, NeedsReauth, NoticeId, Timestamp};

/// Something that happened to an account's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    /// When.
    pub at: Timestamp,
    /// Whose access.
    pub account: AccountId,
    /// Which connection's.
    pub connection: ConnectionId,
    /// What.
    pub kind: AccountEventKind,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountEventKind {
    /// New tokens are stored.
    Refreshed,
    /// An access that was in doubt, or needed a person, works again.
    Recovered,
    /// The person must sign in again.
    NeedsReauth(NeedsReauth),
    /// A refresh was sent and nobody knows what became of it; it is going to be tried again.
    OutcomeUnknown,
}

impl AccountEventKind {
    /// The stable name: `refreshed`, `recovered`, `needs_reauth`, `lost_response` or `outcome_unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Recovered => "recovered",
            Self::NeedsReauth(NeedsReauth::LostResponse) => "lost_response",
            Self::NeedsReauth(_) => "needs_reauth",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl AccountEventKind {
    /// Why the person is needed: a code.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::NeedsReauth(reason) => Some(reason.code()),
            Self::Refreshed | Self::Recovered | Self::OutcomeUnknown => None,
        }
    }
}

/// An event with a name of its own, so that whoever hears of it twice can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountNotice {
    /// Names it.
    pub id: NoticeId,
    /// What happened.
    pub event: AccountEvent,
}

impl fmt::Display for AccountNotice {
    /// The notice as one line of text, for a channel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccountEvent { at, account, connection, kind } = &self.event;
        let reason = kind.reason().unwrap_or("-");
        write!(f, "{} {} {account} {connection} {} {reason}", self.id, at.as_millis(), kind.name())
    }
}

impl AccountNotice {
    /// Reads what `to_string` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let id = NoticeId::parse(parts.next()?).ok()?;
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let account = AccountId::parse(parts.next()?).ok()?;
        let connection = ConnectionId::parse(parts.next()?).ok()?;
        let kind = match (parts.next()?, parts.next()?) {
            ("refreshed", "-") => AccountEventKind::Refreshed,
            ("recovered", "-") => AccountEventKind::Recovered,
            ("outcome_unknown", "-") => AccountEventKind::OutcomeUnknown,
            ("needs_reauth" | "lost_response", reason) => {
                AccountEventKind::NeedsReauth(NeedsReauth::from_code(reason)?)
            }
            _ => return None,
        };
        let notice = Self { id, event: AccountEvent { at, account, connection, kind } };
        // Exactly one spelling, as everywhere.
        (notice.to_string() == text).then_some(notice)
    }
}

/// How one refresh ended, as a class to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshResult {
    /// New tokens.
    Granted,
    /// The refresh token was certainly not consumed.
    NotConsumed,
    /// It was not sent: something failed before.
    NotSent,
    /// The issuer says that the grant is gone.
    Refused,
    /// Nobody knows.
    Unknown,
    /// New tokens that must not be used.
    Quarantined,
    /// The row was another one than expected.
    Superseded,
}

impl RefreshResult {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Granted,
        Self::NotConsumed,
        Self::NotSent,
        Self::Refused,
        Self::Unknown,
        Self::Quarantined,
        Self::Superseded,
    ];

    /// The stable name, such as `not_consumed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::NotConsumed => "not_consumed",
            Self::NotSent => "not_sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Quarantined => "quarantined",
            Self::Superseded => "superseded",
        }
    }
}

/// Hears what the vault does. Must be quick and must not block; every method has an empty default.
pub trait Observer: Send + Sync {
    /// Something happened to an account's access. Told after it is durable, once per instance that did it.
    fn event(&self, event: &AccountEvent) {
        let _ = event;
    }

    /// A refresh ended; `took` is from its beginning, waiting for its turn included.
    fn refresh_ended(&self, result: RefreshResult, took: Duration) {
        let _ = (result, took);
    }

    /// Before a refresh token was sent once more, the old access token was tried.
    fn probed(&self, probe: AccessProbe) {
        let _ = probe;
    }

    /// A checkout that had to read the row (one out of memory is not told) took this long.
    fn checkout_stored(&self, took: Duration) {
        let _ = took;
    }

    /// A server wanted another DPoP nonce.
    fn nonce_retry(&self) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
