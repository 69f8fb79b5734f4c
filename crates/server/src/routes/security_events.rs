//! `GET /api/security-events`: what happened to the accounts of this device.

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::EventPlace;
use bowerbird_core::{AccountId, NoticeId, SecurityEvent, SecurityEventKind, Timestamp};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::json_of;
use crate::error::ApiError;
use crate::extract::{Form, NamedAccounts};
use crate::history::{History, parse_place, place_text};

/// How many are given at once.
pub(crate) const PAGE: u32 = 50;

/// A piece of the history.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityEventsBody {
    /// The latest first.
    events: Vec<SecurityEventBody>,
    /// What `before` must be for the next piece; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An entry.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityEventBody {
    /// Names it.
    #[schema(value_type = String, format = "uuid")]
    id: NoticeId,
    /// `signed_in`, `signed_out`, `signed_out_remotely`, `needs_reauth`, `outcome_unknown` or `recovered`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When, in milliseconds since 1970.
    #[schema(value_type = i64)]
    at: Timestamp,
    /// Whose account.
    #[schema(value_type = String, format = "uuid")]
    account_id: AccountId,
    /// Why the person was needed: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// One sentence for a person.
    message: &'static str,
    /// The device that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// The device from which it was done, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_device: Option<String>,
}

impl From<SecurityEvent> for SecurityEventBody {
    fn from(event: SecurityEvent) -> Self {
        Self {
            id: event.id,
            kind: event.kind.name(),
            at: event.at,
            account_id: event.account,
            reason: Some(event.kind.reason()).filter(|reason| !reason.is_empty()),
            message: message(event.kind),
            device_name: Some(event.device_name).filter(|name| !name.is_empty()),
            by_device: Some(event.by_device).filter(|name| !name.is_empty()),
        }
    }
}

/// One sentence for a person.
pub(crate) fn message(kind: SecurityEventKind) -> &'static str {
    match kind {
        SecurityEventKind::SignedIn => "Signed in.",
        SecurityEventKind::SignedOut => "Signed out.",
        SecurityEventKind::SignedOutRemotely => "Signed out from another device.",
        SecurityEventKind::NeedsReauth(reason) => reason.explanation(),
        SecurityEventKind::OutcomeUnknown => "The access was renewed and no answer came; it is tried again.",
        SecurityEventKind::Recovered => "The access works again.",
    }
}

/// What `before` says.
pub(crate) fn before(uri: &Uri) -> Result<Option<EventPlace>, ApiError> {
    let form = Form::parse(uri.query().unwrap_or_default().as_bytes());
    let unknown = || ApiError::bad_request("invalid_request", "`before` is not what an earlier answer gave as `next`");
    form.get("before")?.map(|text| parse_place(text).ok_or_else(unknown)).transpose()
}

/// Tells what happened to the accounts of this device
///
/// Sign-ins, sign-outs, and access that ended or came back, for 90 days and at most 500 of each account.
#[utoipa::path(
    get, path = "/api/security-events", tag = "Apps", operation_id = "listSecurityEvents",
    security(("cookie" = []), ("bearer" = [])),
    params(
        ("before" = Option<String>, Query, description = "The `next` of an earlier answer"),
        ("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of one account of this device; all of them without it"),
    ),
    responses(
        (status = 200, description = "At most 50, the latest first", body = SecurityEventsBody),
        (status = 400, description = "`before` is none"),
        (status = 401, description = "Nobody is signed in"),
        (status = 404, description = "The account is not on this device"),
    )
)]
pub(crate) async fn get(
    State(history): State<History>,
    NamedAccounts { accounts, .. }: NamedAccounts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let page = history.of(&accounts, before(&uri)?, PAGE).await?;
    let events = page.events.into_iter().map(SecurityEventBody::from).collect();
    Ok(json_of(&SecurityEventsBody { events, next: page.next.map(place_text) }))
}
