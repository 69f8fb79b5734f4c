//! An event as others see it. No token, key or seal is ever part of one.

use bowerbird_core::ports::{AccountEventKind, AccountNotice};
use bowerbird_core::{Account, AccountId, ConnectionId, NoticeId, Timestamp};
use serde::Serialize;

/// Every type of event, as `type` names it.
pub const EVENT_TYPES: [&str; 9] = [
    "refreshed",
    "recovered",
    "needs_reauth",
    "lost_response",
    "outcome_unknown",
    "unsaved_answers",
    "answers_saved",
    "refreshing_suspended",
    "refreshing_resumed",
];

/// What is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Names it; whoever gets one twice can tell by it.
    pub id: NoticeId,
    /// One of [`EVENT_TYPES`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When, as RFC 3339.
    pub occurred_at: String,
    /// Whose access; none where it is about the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// Which connection's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// The account's DID, where the receiver is the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did: Option<String>,
    /// The account's handle, where the receiver is the operator and it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Why: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// One sentence for a person.
    pub message: &'static str,
    /// Where the person repairs exactly this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair_url: Option<String>,
    /// Which instance it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl Report {
    /// Of an account's access. `origin` is the address of this server, without a slash at its end.
    pub(crate) fn of_access(notice: &AccountNotice, origin: &str) -> Self {
        let event = &notice.event;
        let needs_person = matches!(event.kind, AccountEventKind::NeedsReauth(_));
        Self {
            id: notice.id,
            kind: event.kind.name(),
            occurred_at: moment(event.at),
            account_id: Some(event.account),
            connection_id: Some(event.connection),
            did: None,
            handle: None,
            reason: event.kind.reason(),
            message: sentence(event.kind),
            repair_url: needs_person.then(|| format!("{origin}/login/repair/{}", event.account)),
            instance: None,
        }
    }

    /// Of the installation.
    pub(crate) fn of_installation(
        id: NoticeId,
        at: Timestamp,
        kind: &'static str,
        reason: Option<&'static str>,
        message: &'static str,
        instance: &str,
    ) -> Self {
        Self {
            id,
            kind,
            occurred_at: moment(at),
            account_id: None,
            connection_id: None,
            did: None,
            handle: None,
            reason,
            message,
            repair_url: None,
            instance: Some(instance.to_owned()),
        }
    }

    /// Says who it is about: for the operator.
    pub(crate) fn naming(&self, account: &Account) -> Self {
        let handle = Some(account.handle.clone()).filter(|handle| !handle.is_empty());
        Self { did: Some(account.did.to_string()), handle, ..self.clone() }
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> String {
        // Strings, ids and numbers: there is nothing in it that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn sentence(kind: AccountEventKind) -> &'static str {
    match kind {
        AccountEventKind::Refreshed => "The access was renewed.",
        AccountEventKind::Recovered => "The access works again.",
        AccountEventKind::NeedsReauth(reason) => reason.explanation(),
        AccountEventKind::OutcomeUnknown => {
            "A renewal was sent and its answer never arrived. It is tried again; nobody needs to do anything yet."
        }
    }
}

fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use bowerbird_core::NeedsReauth;
    use bowerbird_core::ports::AccountEvent;
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    #[test]
    fn every_type_is_listed() {
        for kind in [
            AccountEventKind::Refreshed,
            AccountEventKind::Recovered,
            AccountEventKind::OutcomeUnknown,
            AccountEventKind::NeedsReauth(NeedsReauth::LostResponse),
            AccountEventKind::NeedsReauth(NeedsReauth::Revoked),
        ] {
            assert!(EVENT_TYPES.contains(&kind.name()), "{kind:?}");
        }
    }

    #[test]
    fn a_report_is_camel_case_and_leaves_out_what_it_has_not() {
        let entropy = SeededEntropy::new(1);
        let (account, connection) = (AccountId::random(&entropy), ConnectionId::random(&entropy));
        let kind = AccountEventKind::NeedsReauth(NeedsReauth::Revoked);
        let event = AccountEvent { at: Timestamp::from_millis(1_767_225_600_123), account, connection, kind };
        let notice = AccountNotice { id: NoticeId::random(&entropy), event };
        let json = Report::of_access(&notice, "https://bower.example").to_json();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["type"], "needs_reauth");
        assert_eq!(json["occurredAt"], "2026-01-01T00:00:00.123Z");
        assert_eq!(json["repairUrl"], format!("https://bower.example/login/repair/{account}"));
        assert_eq!(json["reason"], "revoked");
        assert!(json.get("did").is_none() && json.get("instance").is_none());
    }
}
