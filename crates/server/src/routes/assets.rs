//! The style sheet and the scripts, under names that change with their content, and the icon.

use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::CONTENT_TYPE;

use super::cacheable;
use crate::error::ApiError;
use crate::pages;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The style sheet and the scripts of the pages
#[utoipa::path(
    get, path = "/assets/{file}", tag = "Browsers", operation_id = "styleSheet",
    params(("file" = String, Path, description = "The name that the pages link")),
    responses((status = 200, description = "CSS, or JavaScript"), (status = 404, description = "An older or unknown name"))
)]
pub(crate) async fn css(uri: Uri) -> Result<Response, ApiError> {
    let (content_type, content) = match uri.path() {
        path if path == pages::css_path() => ("text/css; charset=utf-8", pages::CSS),
        path if path == pages::mobile_auth_js_path() => (JAVASCRIPT, pages::MOBILE_AUTH_JS),
        path if path == pages::opener_js_path() => (JAVASCRIPT, pages::OPENER_JS),
        _ => return Err(ApiError::not_found()),
    };
    let response = ([(CONTENT_TYPE, content_type)], content).into_response();
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
