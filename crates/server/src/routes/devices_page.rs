//! `GET /devices`: the page of the devices.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::Clock;
use http::HeaderMap;

use super::home::signed_out;
use crate::accounts::Accounts;
use crate::csrf;
use crate::device_sessions::DeviceSessions;
use crate::devices;
use crate::error::ApiError;
use crate::extract::{CredentialFault, Presented};
use crate::pages::{self, DevicesPage};
use crate::site::Site;

/// The devices of this device's accounts
///
/// With a button that signs out one, all others, or all.
#[utoipa::path(
    get, path = "/devices", tag = "Browsers", operation_id = "devicesPage",
    responses((status = 200, description = "A page"), (status = 400, description = "The session cookie was sent twice"))
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(accounts): State<Accounts>,
    State(sessions): State<DeviceSessions>,
    State(clock): State<Arc<dyn Clock>>,
    headers: HeaderMap,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, ApiError> {
    let device = match presented {
        Ok(Presented(signed_in)) => signed_in.device,
        Err(fault) if fault.is_signed_out() => return Ok(signed_out(&site, &headers, Some("/devices"))),
        Err(CredentialFault::Store(error)) => return Err(ApiError::from(error).negotiated("")),
        Err(fault) => return Ok(fault.into_response()),
    };
    let page = async {
        let here = accounts.all_on_device(&device).await?;
        let list = devices::list(&sessions, &device, &here).await?;
        let csrf = csrf::form_token(&device.session.id);
        let content = DevicesPage { list: &list, csrf: &csrf, now: clock.now(), several: here.len() > 1 };
        Ok::<_, ApiError>(pages::devices_page(&site, &content))
    };
    page.await.map_err(|error| error.negotiated(""))
}
