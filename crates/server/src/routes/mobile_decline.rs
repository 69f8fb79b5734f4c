//! `POST /mobile-auth/decline`: a person says that they did not begin the sign-in of an app (security row 64).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use crate::csrf;
use crate::error::ApiError;
use crate::extract::Form;
use crate::handoffs::Handoffs;
use crate::pages;
use crate::site::Site;

/// Takes a sign-in of an app back
///
/// The page between a sign-in and an app that began it by itself leads here when its person says that it was not them. What
/// the app would have been given is worth nothing then, and the grant is given back unless a device of theirs has the account.
#[utoipa::path(
    post, path = "/mobile-auth/decline", tag = "Browsers", operation_id = "declineAppLogin",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`code` or `session_token`, whichever the app would have been given"),
    responses(
        (status = 200, description = "A page that says that nothing was handed over"),
        (status = 400, description = "That sign-in is over: the app has it, or its time has passed"),
        (status = 403, description = "The form is one of another site"),
        (status = 503, description = "The database does not answer"),
    )
)]
pub(crate) async fn post(
    State(handoffs): State<Handoffs>,
    State(site): State<Site>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let declined = async {
        csrf::check_not_cross_site(&headers, &site)?;
        let form = Form::read(&headers, body).await?;
        let taken_back = match (form.get("code")?, form.get("session_token")?) {
            (Some(code), None) => handoffs.decline(code).await?,
            (None, Some(seal)) => handoffs.decline_session(seal).await?,
            _ => false,
        };
        if taken_back { Ok(()) } else { Err(over()) }
    };
    match declined.await {
        Ok(()) => Ok(pages::declined_page(&site)),
        Err(error) => Err(error.negotiated("")),
    }
}

fn over() -> ApiError {
    ApiError::bad_request("code_invalid", "That sign-in is over: the app has it already, or its minute has passed")
        .with_hint("If it was not you, look at your devices here, and sign out what you do not know")
        .with_action("/devices", "Your devices")
}
