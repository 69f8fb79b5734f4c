//! `GET /docs`: this API for people.

use axum::extract::State;
use axum::response::Response;

use crate::pages;
use crate::site::Site;

/// This document as a page
#[utoipa::path(
    get, path = "/docs", tag = "Browsers", operation_id = "docs",
    responses((status = 200, description = "A page"))
)]
pub(crate) async fn get(State(site): State<Site>) -> Response {
    pages::docs_page(&site)
}
