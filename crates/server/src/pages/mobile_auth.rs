//! The page that an app opens in the system's browser (row A-001).

use askama::Template;
use axum::response::Response;
use bowerbird_core::ports::Entropy;

use super::{Frame, mobile_auth_js_path, nonce, scripted_page, visible};
use crate::site::Site;

/// The longest text that is filled in, in characters.
const MAX_TYPED: usize = 2048;

/// What the page shows, and passes on.
pub(crate) struct MobileAuthPage<'a> {
    /// The handle, when the app knows it.
    pub(crate) typed: &'a str,
    /// What the app said of itself, by the names of the fields.
    pub(crate) hidden: Vec<(&'static str, &'a str)>,
    /// Whether a page of another site led here.
    pub(crate) from_elsewhere: bool,
}

#[derive(Template)]
#[template(path = "mobile_auth.html")]
struct MobileAuth<'a> {
    frame: Frame<'a>,
    typed: String,
    hidden: &'a [(&'static str, &'a str)],
    from_elsewhere: bool,
    nonce: &'a str,
    script: &'static str,
}

/// The page. It works without its script as well.
pub(crate) fn mobile_auth_page(site: &Site, entropy: &dyn Entropy, content: &MobileAuthPage<'_>) -> Response {
    let nonce = nonce(entropy);
    let page = MobileAuth {
        frame: Frame::of(site),
        typed: visible(content.typed, MAX_TYPED),
        hidden: &content.hidden,
        from_elsewhere: content.from_elsewhere,
        nonce: &nonce,
        script: mobile_auth_js_path(),
    };
    scripted_page(site, &page, &nonce)
}
