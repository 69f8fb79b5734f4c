//! The page between a sign-in and an app that began it by itself: it names both, and goes on when the person says so.

use askama::Template;
use axum::response::Response;
use bowerbird_core::Secret;
use url::form_urlencoded;

use super::{Frame, page, visible};
use crate::site::Site;

/// The longest handle that is shown, in characters.
const MAX_HANDLE: usize = 256;

#[derive(Template)]
#[template(path = "continue_to_app.html")]
struct ContinueToApp<'a> {
    frame: Frame<'a>,
    handle: String,
    link: &'a str,
    /// What the link gives the app: with it, the person can take it back.
    name: String,
    value: String,
}

/// What is said when the person did.
#[derive(Template)]
#[template(path = "declined.html")]
struct Declined<'a> {
    frame: Frame<'a>,
}

/// The page. It holds the link to the app, which the person would otherwise have been sent to: as little as that may it
/// be kept anywhere.
pub(crate) fn continue_page(site: &Site, handle: &str, link: &Secret) -> Response {
    let handle = visible(handle, MAX_HANDLE);
    let query = link.expose().split_once('?').map(|(_, query)| query).unwrap_or_default();
    let given = form_urlencoded::parse(query.as_bytes()).into_owned().next();
    let (name, value) = given.unwrap_or_default();
    page(site, &ContinueToApp { frame: Frame::of(site), handle, link: link.expose(), name, value })
}

/// The page after the person said that it was not them.
pub(crate) fn declined_page(site: &Site) -> Response {
    page(site, &Declined { frame: Frame::of(site) })
}
