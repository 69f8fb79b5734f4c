//! The end of a sign-in in a window that another page opened (row A-036): that page is told, at exactly its own origin.

use askama::Template;
use axum::response::Response;
use bowerbird_core::ports::Entropy;
use http::HeaderValue;

use super::{Frame, nonce, opener_js_path, scripted_page, visible};
use crate::security_headers::COOP;
use crate::site::Site;

/// The longest identifier that is passed on, in characters.
const MAX_IDENTIFIER: usize = 256;

/// How it ended.
pub(crate) enum OpenerResult<'a> {
    SignedIn { did: &'a str, handle: &'a str },
    Failed { code: &'a str, message: &'a str },
}

#[derive(Template)]
#[template(path = "opener.html")]
struct Opener<'a> {
    frame: Frame<'a>,
    origin: &'a str,
    success: bool,
    did: String,
    handle: String,
    error: &'a str,
    message: &'a str,
    nonce: &'a str,
    script: &'static str,
}

/// The page.
pub(crate) fn opener_page(site: &Site, entropy: &dyn Entropy, origin: &str, result: &OpenerResult<'_>) -> Response {
    let (did, handle, error, message) = match result {
        OpenerResult::SignedIn { did, handle } => (*did, *handle, "", ""),
        OpenerResult::Failed { code, message } => ("", "", *code, *message),
    };
    let nonce = nonce(entropy);
    let page = Opener {
        frame: Frame::of(site),
        origin,
        success: matches!(result, OpenerResult::SignedIn { .. }),
        did: visible(did, MAX_IDENTIFIER),
        handle: visible(handle, MAX_IDENTIFIER),
        error,
        message,
        nonce: &nonce,
        script: opener_js_path(),
    };
    keep_opener(scripted_page(site, &page, &nonce))
}

/// Lets a window keep its hold of the page that opened it, which may be one of another origin that the operator listed.
pub(crate) fn keep_opener(mut response: Response) -> Response {
    response.headers_mut().insert(COOP, HeaderValue::from_static("unsafe-none"));
    response
}
