//! What the buttons of the start page do, without script.

pub(crate) mod add;
pub(crate) mod remove;
pub(crate) mod sign_out;
pub(crate) mod switch;

use axum::response::Response;
use http::StatusCode;

use super::redirect;
use crate::error::ApiError;

/// Back to the start page.
fn home() -> Response {
    redirect(StatusCode::SEE_OTHER, "/")
}

/// An error as a page with a way back.
fn as_page(error: ApiError) -> ApiError {
    error.with_action("/", "Back to the start page").negotiated("")
}
