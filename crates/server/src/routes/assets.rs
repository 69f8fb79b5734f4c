//! The style sheet, under a name that changes with its content, and the icon.

use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::CONTENT_TYPE;

use super::cacheable;
use crate::error::ApiError;
use crate::pages;

/// The style sheet of the pages
#[utoipa::path(
    get, path = "/assets/{file}", tag = "Browsers", operation_id = "styleSheet",
    params(("file" = String, Path, description = "The name that the pages link")),
    responses((status = 200, description = "CSS"), (status = 404, description = "An older or unknown name"))
)]
pub(crate) async fn css(uri: Uri) -> Result<Response, ApiError> {
    if uri.path() != pages::css_path() {
        return Err(ApiError::not_found());
    }
    let response = ([(CONTENT_TYPE, "text/css; charset=utf-8")], pages::CSS).into_response();
    Ok(cacheable(response, "public, max-age=31536000, immutable"))
}

/// The icon
#[utoipa::path(
    get, path = "/favicon.svg", tag = "Browsers", operation_id = "icon",
    responses((status = 200, description = "SVG"))
)]
pub(crate) async fn favicon() -> Response {
    cacheable(([(CONTENT_TYPE, "image/svg+xml")], pages::FAVICON).into_response(), "public, max-age=86400")
}
