//! What happened to an account that its person should be able to look up: sign-ins, sign-outs, and access that ended.

use crate::{AccountId, NeedsReauth, NoticeId, Timestamp};

/// An entry in the history of an account. Never a secret, never an address of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Names it.
    pub id: NoticeId,
    /// Whose history it is in.
    pub account: AccountId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: SecurityEventKind,
    /// The device that it is about, as people know it; empty where it is about none.
    pub device_name: String,
    /// The device from which it was done, where that is another one; else empty.
    pub by_device: String,
}

impl SecurityEvent {
    /// How many entries of an account are kept.
    pub const KEPT: u32 = 500;
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityEventKind {
    /// The account signed in on a device, anew or once more.
    SignedIn,
    /// It left a device, by that device's own doing.
    SignedOut,
    /// It was taken off a device from another one.
    SignedOutRemotely,
    /// The person must sign in again.
    NeedsReauth(NeedsReauth),
    /// A renewal was sent and nobody knows what became of it; it is going to be tried again.
    OutcomeUnknown,
    /// The access works again.
    Recovered,
}

impl SecurityEventKind {
    /// The stable name, in stores and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::SignedOut => "signed_out",
            Self::SignedOutRemotely => "signed_out_remotely",
            Self::NeedsReauth(_) => "needs_reauth",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Recovered => "recovered",
        }
    }

    /// Why the person is needed: a code; empty where they are not.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NeedsReauth(reason) => reason.code(),
            Self::SignedIn | Self::SignedOut | Self::SignedOutRemotely | Self::OutcomeUnknown | Self::Recovered => "",
        }
    }

    /// Reads what [`Self::name`] and [`Self::reason`] gave.
    pub fn from_codes(name: &str, reason: &str) -> Option<Self> {
        let kind = match name {
            "signed_in" => Self::SignedIn,
            "signed_out" => Self::SignedOut,
            "signed_out_remotely" => Self::SignedOutRemotely,
            "needs_reauth" => Self::NeedsReauth(NeedsReauth::from_code(reason)?),
            "outcome_unknown" => Self::OutcomeUnknown,
            "recovered" => Self::Recovered,
            _ => return None,
        };
        (kind.reason() == reason).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_from_its_codes() {
        let reasons = NeedsReauth::ALL.map(SecurityEventKind::NeedsReauth);
        let others = [
            SecurityEventKind::SignedIn,
            SecurityEventKind::SignedOut,
            SecurityEventKind::SignedOutRemotely,
            SecurityEventKind::OutcomeUnknown,
            SecurityEventKind::Recovered,
        ];
        for kind in reasons.into_iter().chain(others) {
            assert_eq!(SecurityEventKind::from_codes(kind.name(), kind.reason()), Some(kind));
        }
        for (name, reason) in [("needs_reauth", ""), ("signed_in", "revoked"), ("other", ""), ("", "")] {
            assert_eq!(SecurityEventKind::from_codes(name, reason), None, "{name} {reason}");
        }
    }
}
