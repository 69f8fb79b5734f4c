//! `GET /api/accounts/{id}/avatar`: the picture of an account, from our own origin.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bowerbird_atproto::Profiles;
use http::StatusCode;

use super::cacheable;
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::SignedIn;

/// The picture of an account of this device
#[utoipa::path(
    get, path = "/api/accounts/{id}/avatar", tag = "Apps", operation_id = "accountAvatar",
    security(("cookie" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The account's id, or its DID")),
    responses(
        (status = 200, description = "A raster image of at most 1 MB"),
        (status = 401, description = "Nobody is signed in"),
        (status = 404, description = "Not on this device, or without a picture"),
        (status = 502, description = "The account's server does not give it"),
    )
)]
pub(crate) async fn get(
    State(accounts): State<Accounts>,
    State(profiles): State<Profiles>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let account = accounts.on_device(&signed_in.device, &id).await?;
    match profiles.avatar(&account).await {
        Ok(Some(picture)) => Ok(cacheable(picture.map(Body::new), "private, max-age=3600")),
        Ok(None) => Err(ApiError::new(StatusCode::NOT_FOUND, "no_picture", "That account has no picture")),
        Err(error) => {
            let message = "The account's server does not give the picture";
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "upstream_failed", message).with_cause(error))
        }
    }
}
