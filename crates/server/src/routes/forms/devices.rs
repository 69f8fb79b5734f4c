//! `POST /devices/…`: the buttons of the page of the devices.

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::Cas;
use http::StatusCode;

use super::super::{redirect, without_session};
use crate::accounts::Accounts;
use crate::devices::device_tag;
use crate::error::ApiError;
use crate::extract::{SignedIn, SignedInForm};
use crate::sign_out::{Departures, Which};
use crate::site::Site;

/// Signs this device's accounts out of a device by form
#[utoipa::path(
    post, path = "/devices/sign-out", tag = "Browsers", operation_id = "signOutDeviceByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf` and `device`"),
    responses(
        (status = 303, description = "To the page of the devices, or to the start page when this device was meant"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
        (status = 404, description = "No such device, or none of these accounts is on it"),
    )
)]
pub(crate) async fn one(
    State(accounts): State<Accounts>,
    State(departures): State<Departures>,
    State(site): State<Site>,
    SignedInForm { signed_in, form, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    let device = &signed_in.device;
    let end = async {
        let tag = form.get("device")?.unwrap_or_default();
        let held = accounts.all_on_device(device).await?;
        match departures.end_device(device, held, tag).await? {
            Cas::Done => Ok(tag == device_tag(&device.session.id)),
            Cas::Stale => Err(ApiError::device_not_found()),
        }
    };
    let ends_here = end.await.map_err(as_page)?;
    Ok(done(&signed_in, &site, ends_here))
}

/// Signs this device's accounts out of all other devices by form
#[utoipa::path(
    post, path = "/devices/sign-out-others", tag = "Browsers", operation_id = "signOutOtherDevicesByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf`"),
    responses(
        (status = 303, description = "To the page of the devices"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
    )
)]
pub(crate) async fn others(
    State(accounts): State<Accounts>,
    State(departures): State<Departures>,
    State(site): State<Site>,
    SignedInForm { signed_in, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    many(&accounts, &departures, &signed_in, Which::Others).await?;
    Ok(done(&signed_in, &site, false))
}

/// Signs this device's accounts out of all devices by form
#[utoipa::path(
    post, path = "/devices/sign-out-all", tag = "Browsers", operation_id = "signOutAllDevicesByForm",
    security(("cookie" = [])),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`csrf`"),
    responses(
        (status = 303, description = "To the start page"),
        (status = 401, description = "Nobody is signed in"),
        (status = 403, description = "The form may be forged"),
    )
)]
pub(crate) async fn all(
    State(accounts): State<Accounts>,
    State(departures): State<Departures>,
    State(site): State<Site>,
    SignedInForm { signed_in, .. }: SignedInForm,
) -> Result<Response, ApiError> {
    many(&accounts, &departures, &signed_in, Which::All).await?;
    Ok(done(&signed_in, &site, true))
}

async fn many(
    accounts: &Accounts,
    departures: &Departures,
    signed_in: &SignedIn,
    which: Which,
) -> Result<(), ApiError> {
    let end = async {
        let held = accounts.all_on_device(&signed_in.device).await?;
        departures.end_devices(&signed_in.device, held, which).await
    };
    end.await.map(drop).map_err(|error| as_page(error.into()))
}

fn done(signed_in: &SignedIn, site: &Site, ends_here: bool) -> Response {
    if !ends_here {
        return redirect(StatusCode::SEE_OTHER, "/devices");
    }
    without_session(redirect(StatusCode::SEE_OTHER, "/"), signed_in.via, site)
}

fn as_page(error: ApiError) -> ApiError {
    error.with_action("/devices", "Back to the devices").negotiated("")
}
