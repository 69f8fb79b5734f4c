//! `GET /oauth-client-metadata.json` and its older name (row A-018).

use axum::extract::State;
use axum::response::Response;
use bowerbird_atproto::ClientIdentity;

use super::{cacheable, json};

/// The client metadata document
#[utoipa::path(
    get, path = "/oauth-client-metadata.json", tag = "OAuth servers", operation_id = "clientMetadata",
    responses((status = 200, description = "Who we are to authorization servers; the same bytes always"))
)]
pub(crate) async fn get(State(client): State<ClientIdentity>) -> Response {
    cacheable(json(client.metadata_json()), "public, max-age=300")
}
