//! `GET /api/auth/window-end`: what came of the sign-in in a window, for the page that opened it (row A-036).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use super::{json_of, with_cookie};
use crate::cookies;
use crate::site::Site;
use crate::window_end::{WindowEnd, WindowEndBody};

/// Tells what came of a sign-in in a window
///
/// For a page of another origin whose window was cut off on the way, so that no message came: it asks now and then while
/// it waits. The answer is what the message would have been, once, within ten minutes, and for that origin alone. Whether
/// somebody is signed in is said by `/api/auth/session`.
#[utoipa::path(
    get, path = "/api/auth/window-end", tag = "Apps", operation_id = "windowEnd",
    responses(
        (status = 200, description = "It has ended", body = WindowEndBody),
        (status = 204, description = "It has not, or this page was told already, or is not the one to be told"),
    )
)]
pub(crate) async fn get(State(site): State<Site>, headers: HeaderMap) -> Response {
    match WindowEnd::for_asker(&headers, &site) {
        Some(end) => with_cookie(json_of(&end), cookies::clear_window_end(&site)),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}
