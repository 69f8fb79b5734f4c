//! `GET /health`: the process is up.

use axum::extract::State;
use axum::response::Response;

use super::json_of;
use crate::site::Site;

/// Whether the process is up
#[utoipa::path(
    get, path = "/health", tag = "Operators", operation_id = "health",
    responses((status = 200, description = "`{status: \"ok\", version}`"))
)]
pub(crate) async fn get(State(site): State<Site>) -> Response {
    json_of(&serde_json::json!({"status": "ok", "version": site.version}))
}
