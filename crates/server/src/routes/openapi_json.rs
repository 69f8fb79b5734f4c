//! `GET /openapi.json`: this API for programs.

use std::sync::LazyLock;

use axum::response::Response;
use bytes::Bytes;

use super::{cacheable, json};

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "Operators", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI document"))
)]
pub(crate) async fn get() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| crate::openapi().to_json().unwrap_or_default().into());
    cacheable(json(DOCUMENT.clone()), "public, max-age=300")
}
