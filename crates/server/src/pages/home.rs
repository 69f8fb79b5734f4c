//! The start page of somebody who is signed in.

use askama::Template;
use axum::response::Response;
use bowerbird_core::Timestamp;

use super::{Frame, PasswordForm, page, visible};
use crate::overview::{AuthType, ListedAccount};
use crate::site::Site;

/// The longest name that is shown, in characters.
const MAX_NAME: usize = 64;
/// The longest identifier that is shown, in characters.
const MAX_IDENTIFIER: usize = 256;

/// What the page shows.
pub(crate) struct HomePage<'a> {
    pub(crate) accounts: &'a [ListedAccount],
    pub(crate) csrf: &'a str,
    pub(crate) expires_at: Timestamp,
    /// Whether use moves the end; not where the grant ends first.
    pub(crate) renews: bool,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    frame: Frame<'a>,
    active: &'a ShownAccount,
    accounts: &'a [ShownAccount],
    csrf: &'a str,
    until: String,
    until_machine: String,
    renews: bool,
    password_form: Option<PasswordForm<'a>>,
}

/// An account in words for the eye.
struct ShownAccount {
    id: String,
    name: String,
    handle: String,
    did: String,
    server: String,
    scope: Option<String>,
    initial: String,
    picture: String,
    has_picture: bool,
    active: bool,
    trouble: Option<&'static str>,
    repair: String,
    /// Whether it signed in with an app password, which OAuth can replace.
    by_password: bool,
}

impl ShownAccount {
    fn of(account: &ListedAccount) -> Self {
        let handle = visible(&account.handle, MAX_IDENTIFIER);
        let given = account.display_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = given.map_or_else(|| handle.clone(), |name| visible(name, MAX_NAME));
        let server = account.pds.strip_prefix("https://").unwrap_or(&account.pds);
        Self {
            initial: name
                .chars()
                .find(|c| c.is_alphanumeric())
                .map_or_else(|| "·".to_owned(), |c| c.to_uppercase().collect()),
            name,
            handle,
            did: visible(&account.did, MAX_IDENTIFIER),
            server: visible(server, MAX_IDENTIFIER),
            scope: account.scope.as_deref().map(|scope| visible(scope, MAX_IDENTIFIER)),
            picture: format!("/api/accounts/{}/avatar", account.id),
            has_picture: account.avatar.is_some(),
            active: account.active,
            trouble: account.explanation,
            by_password: account.auth_type == Some(AuthType::AppPassword),
            repair: format!("/login/repair/{}", account.id),
            id: account.id.to_string(),
        }
    }
}

/// The page; None when the device has no active account.
pub(crate) fn home_page(site: &Site, content: &HomePage<'_>) -> Option<Response> {
    let accounts: Vec<ShownAccount> = content.accounts.iter().map(ShownAccount::of).collect();
    let active = accounts.iter().find(|account| account.active)?;
    let home = Home {
        frame: Frame::of(site),
        active,
        accounts: &accounts,
        csrf: content.csrf,
        until: format_time(content.expires_at, "%-d %B %Y, %H:%M UTC"),
        until_machine: format_time(content.expires_at, "%Y-%m-%dT%H:%M:%SZ"),
        renews: content.renews,
        password_form: PasswordForm::empty(site, Some(content.csrf)),
    };
    Some(page(site, &home))
}

fn format_time(at: Timestamp, format: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    at.strftime(format).to_string()
}
