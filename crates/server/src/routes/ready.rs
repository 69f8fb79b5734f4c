//! `GET /ready`: requests can be served.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::json;
use crate::error::ApiError;
use crate::parts::Ready;

/// Whether requests can be served
#[utoipa::path(
    get, path = "/ready", tag = "Operators", operation_id = "ready",
    responses(
        (status = 200, description = "`{status: \"ready\"}`"),
        (status = 503, description = "The database does not answer; the log says more"),
    )
)]
pub(crate) async fn get(State(Ready(check)): State<Ready>) -> Result<Response, ApiError> {
    match check().await {
        Ok(()) => Ok(json(r#"{"status":"ready"}"#)),
        Err(cause) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "This server is not ready")
            .with_cause(cause)
            .with_retry_after(2)),
    }
}
