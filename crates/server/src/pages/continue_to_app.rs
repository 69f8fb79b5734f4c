//! The page between a sign-in and an app that began it by itself: it names both, and goes on when the person says so.

use askama::Template;
use axum::response::Response;
use bowerbird_core::Secret;

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
}

/// The page. It holds the link to the app, which the person would otherwise have been sent to: as little as that may it
/// be kept anywhere.
pub(crate) fn continue_page(site: &Site, handle: &str, link: &Secret) -> Response {
    let handle = visible(handle, MAX_HANDLE);
    page(site, &ContinueToApp { frame: Frame::of(site), handle, link: link.expose() })
}
