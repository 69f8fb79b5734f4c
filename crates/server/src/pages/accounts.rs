//! The account switcher, which is the start page of somebody who is signed in (row D-020).

use askama::Template;
use axum::response::Response;
use bowerbird_core::{DeviceSession, Timestamp};

use super::{Frame, MAX_IDENTIFIER, MAX_NAME, Moment, PasswordForm, page, visible};
use crate::overview::{AuthType, ListedAccount};
use crate::site::Site;

/// What the page shows.
pub(crate) struct AccountsPage<'a> {
    pub(crate) accounts: &'a [ListedAccount],
    pub(crate) csrf: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Whether use moves the end; not where the grant ends first.
    pub(crate) renews: bool,
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct Switcher<'a> {
    frame: Frame<'a>,
    here: &'static str,
    active: &'a ShownAccount,
    accounts: &'a [ShownAccount],
    csrf: &'a str,
    until: Moment,
    renews: bool,
    is_full: bool,
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
pub(crate) fn accounts_page(site: &Site, content: &AccountsPage<'_>) -> Option<Response> {
    let accounts: Vec<ShownAccount> = content.accounts.iter().map(ShownAccount::of).collect();
    let active = accounts.iter().find(|account| account.active)?;
    let shown = Switcher {
        frame: Frame::of(site),
        here: "accounts",
        active,
        accounts: &accounts,
        csrf: content.csrf,
        until: Moment::of(content.expires_at, content.now),
        renews: content.renews,
        is_full: accounts.len() >= DeviceSession::MAX_ACCOUNTS,
        password_form: PasswordForm::empty(site, Some(content.csrf)),
    };
    Some(page(site, &shown))
}
