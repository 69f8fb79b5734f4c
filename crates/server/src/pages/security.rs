//! What happened to the accounts of somebody who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use bowerbird_core::{Account, SecurityEvent, SecurityEventKind, Timestamp};

use super::{Frame, MAX_IDENTIFIER, MAX_NAME, Moment, page, visible};
use crate::history::{HistoryPage, place_text};
use crate::site::Site;

/// What the page shows.
pub(crate) struct SecurityPage<'a> {
    pub(crate) history: &'a HistoryPage,
    /// Whose they are.
    pub(crate) accounts: &'a [Arc<Account>],
    pub(crate) now: Timestamp,
    /// Whether it begins with the latest.
    pub(crate) is_first: bool,
}

#[derive(Template)]
#[template(path = "security.html")]
struct Security<'a> {
    frame: Frame<'a>,
    here: &'static str,
    events: Vec<ShownEvent>,
    several: bool,
    is_first: bool,
    next: Option<String>,
}

/// An entry in words for the eye.
struct ShownEvent {
    title: &'static str,
    detail: String,
    handle: String,
    at: Moment,
    is_warning: bool,
}

impl ShownEvent {
    fn of(event: &SecurityEvent, accounts: &[Arc<Account>], now: Timestamp) -> Self {
        let account = accounts.iter().find(|account| account.id == event.account);
        let device = visible(&event.device_name, MAX_NAME);
        let (title, detail) = match event.kind {
            SecurityEventKind::SignedIn => ("Signed in", device),
            SecurityEventKind::SignedOut => ("Signed out", device),
            SecurityEventKind::SignedOutRemotely => {
                let detail = format!("{device}, from {}", visible(&event.by_device, MAX_NAME));
                ("Signed out from another device", detail)
            }
            SecurityEventKind::NeedsReauth(reason) => ("A new sign-in is needed", reason.explanation().to_owned()),
            SecurityEventKind::OutcomeUnknown => {
                ("Access in doubt", "It was renewed, and no answer came. It is tried again.".to_owned())
            }
            SecurityEventKind::Recovered => ("Access works again", String::new()),
        };
        Self {
            title,
            detail,
            handle: account.map(|account| visible(&account.handle, MAX_IDENTIFIER)).unwrap_or_default(),
            at: Moment::of(event.at, now),
            is_warning: matches!(event.kind, SecurityEventKind::NeedsReauth(_) | SecurityEventKind::OutcomeUnknown),
        }
    }
}

/// The page.
pub(crate) fn security_page(site: &Site, content: &SecurityPage<'_>) -> Response {
    let shown = Security {
        frame: Frame::of(site),
        here: "security",
        events: content
            .history
            .events
            .iter()
            .map(|event| ShownEvent::of(event, content.accounts, content.now))
            .collect(),
        several: content.accounts.len() > 1,
        is_first: content.is_first,
        next: content.history.next.map(place_text),
    };
    page(site, &shown)
}
