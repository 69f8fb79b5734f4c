//! `POST /sign-out`

use axum::extract::State;
use axum::response::Response;

use super::super::without_session;
use super::{as_page, home};
use crate::error::ApiError;
use crate::extract::SignedInForm;
use crate::sign_out::Departures;
use crate::site::Site;

/// Signs this device out by form
#[utoipa::path(
    post, path = "/sign-out", tag = "Browsers", operation_id = "signOutByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf`"),
    responses(
        (status = 303, description = "To the start page"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
    )
)]
pub(crate) async fn post(
    State(departures): State<Departures>,
    State(site): State<Site>,
    SignedInForm { signed_in, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    departures.sign_out(&signed_in.device).await.map_err(|error| as_page(error.into()))?;
    Ok(without_session(home(), signed_in.via, &site))
}
