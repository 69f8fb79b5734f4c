//! The devices of somebody who is signed in.

use askama::Template;
use axum::response::Response;
use bowerbird_core::Timestamp;

use super::{Frame, MAX_IDENTIFIER, MAX_NAME, Moment, page, visible};
use crate::devices::{DeviceList, ListedDevice};
use crate::site::Site;

/// What the page shows.
pub(crate) struct DevicesPage<'a> {
    pub(crate) list: &'a DeviceList,
    pub(crate) csrf: &'a str,
    pub(crate) now: Timestamp,
    /// Whether the device that asks holds more than one account.
    pub(crate) several: bool,
}

#[derive(Template)]
#[template(path = "devices.html")]
struct Listing<'a> {
    frame: Frame<'a>,
    here: &'static str,
    devices: Vec<ShownDevice>,
    hidden: usize,
    has_others: bool,
    several: bool,
    csrf: &'a str,
}

/// A device in words for the eye.
struct ShownDevice {
    id: String,
    name: String,
    is_handheld: bool,
    current: bool,
    handles: Vec<String>,
    seen: Moment,
    since: Moment,
}

impl ShownDevice {
    fn of(device: &ListedDevice, now: Timestamp) -> Self {
        Self {
            id: device.id.clone(),
            name: visible(&device.name, MAX_NAME),
            is_handheld: matches!(device.platform, Some("iPhone" | "iPad" | "Android")),
            current: device.current,
            handles: device.accounts.iter().map(|account| visible(&account.handle, MAX_IDENTIFIER)).collect(),
            seen: Moment::of(device.last_seen_at, now),
            since: Moment::of(device.signed_in_at, now),
        }
    }
}

/// The page.
pub(crate) fn devices_page(site: &Site, content: &DevicesPage<'_>) -> Response {
    let DeviceList { devices, total } = content.list;
    let shown = Listing {
        frame: Frame::of(site),
        here: "devices",
        devices: devices.iter().map(|device| ShownDevice::of(device, content.now)).collect(),
        hidden: total.saturating_sub(devices.len()),
        has_others: devices.iter().any(|device| !device.current),
        several: content.several,
        csrf: content.csrf,
    };
    page(site, &shown)
}
