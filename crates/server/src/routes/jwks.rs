//! `GET /oauth/jwks.json`: the public keys of a confidential client.

use axum::extract::State;
use axum::response::Response;
use bowerbird_atproto::ClientIdentity;

use super::{cacheable, json};

/// The client's public keys
#[utoipa::path(
    get, path = "/oauth/jwks.json", tag = "OAuth servers", operation_id = "clientKeys",
    responses((status = 200, description = "A JWK set; empty for a public client"))
)]
pub(crate) async fn get(State(client): State<ClientIdentity>) -> Response {
    cacheable(json(client.jwks_json()), "public, max-age=300")
}
