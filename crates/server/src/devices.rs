//! The devices on which the accounts of a device are signed in: who is shown which, and what they are called.
//!
//! The rule (ADR 29): a device shows, and signs out, exactly the accounts that are signed in on itself. Of another device it
//! learns of no account that it does not hold, and takes none off it.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, AccountId, DeviceSession, DeviceSessionId, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;

use crate::device_name::platform_of;
use crate::device_sessions::{DeviceSessions, LiveDevice};

const PURPOSE: &[u8] = b"bowerbird device tag v1";
/// Bytes of a tag: as many as nobody guesses.
const TAG_BYTES: usize = 16;
/// How many devices are listed.
const LISTED: usize = 100;

/// A device as a list shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedDevice {
    /// Names the device until somebody signs in on it again. It opens nothing.
    #[schema(example = "9NYG1oKJbFYxzg4hGeyEpw")]
    pub(crate) id: String,
    /// A name for people, from what the app said when it signed in.
    #[schema(example = "Firefox on Linux")]
    pub(crate) name: String,
    /// The system, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Linux")]
    pub(crate) platform: Option<&'static str>,
    /// Whether it is the one that asks.
    pub(crate) current: bool,
    /// When the first of these accounts came to it, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub(crate) signed_in_at: Timestamp,
    /// When it was last used, to within five minutes, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub(crate) last_seen_at: Timestamp,
    /// Those of its accounts that are signed in on the device that asks, too.
    pub(crate) accounts: Vec<AccountOnDevice>,
}

/// An account on a listed device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AccountOnDevice {
    /// The stable name.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: AccountId,
    /// The DID.
    pub(crate) did: String,
    /// The handle.
    pub(crate) handle: String,
}

/// The devices of some accounts.
pub(crate) struct DeviceList {
    /// The one that asks first, then the one used last.
    pub(crate) devices: Vec<ListedDevice>,
    /// How many there are, of which the list may show a part.
    pub(crate) total: usize,
}

/// What a device is called towards other devices. Its own name never leaves it: whoever knows that could make the tokens
/// of its forms ([`crate::csrf`]).
pub(crate) fn device_tag(device: &DeviceSessionId) -> String {
    // An HMAC key may have any length, so that this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(device.as_str().as_bytes()) else { return String::new() };
    mac.update(PURPOSE);
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..TAG_BYTES])
}

/// Lists the devices that hold any of these accounts, which are all on `here`.
pub(crate) async fn list(
    sessions: &DeviceSessions,
    here: &LiveDevice,
    accounts: &[Arc<Account>],
) -> Result<DeviceList, StoreError> {
    let found = holding(sessions, accounts).await?;
    let mut found: Vec<&DeviceSession> = found.values().collect();
    let is_here = |device: &DeviceSession| device.id == here.session.id;
    found.sort_by_key(|device| (!is_here(device), std::cmp::Reverse(device.last_seen_at), &device.id));
    let devices = found.iter().take(LISTED).map(|device| show(device, is_here(device), accounts)).collect();
    Ok(DeviceList { devices, total: found.len() })
}

/// The live devices that hold any of these accounts.
pub(crate) async fn holding(
    sessions: &DeviceSessions,
    accounts: &[Arc<Account>],
) -> Result<HashMap<DeviceSessionId, DeviceSession>, StoreError> {
    let mut found = HashMap::new();
    for account in accounts {
        let of_account = sessions.holding(account.id).await?;
        found.extend(of_account.into_iter().map(|device| (device.id.clone(), device)));
    }
    Ok(found)
}

fn show(device: &DeviceSession, current: bool, accounts: &[Arc<Account>]) -> ListedDevice {
    let shared = device.accounts.iter().filter_map(|entry| {
        let account = accounts.iter().find(|account| account.id == entry.account)?;
        Some((entry.added_at, account))
    });
    let shared: Vec<_> = shared.collect();
    ListedDevice {
        id: device_tag(&device.id),
        name: device.device_name.clone(),
        platform: platform_of(&device.device_name),
        current,
        // Not the session's own age: that may be from before, and tell of somebody else.
        signed_in_at: shared.iter().map(|(added_at, _)| *added_at).min().unwrap_or(device.last_seen_at),
        last_seen_at: device.last_seen_at,
        accounts: shared
            .into_iter()
            .map(|(_, account)| AccountOnDevice {
                id: account.id,
                did: account.did.to_string(),
                handle: account.handle.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_tag_is_short_stable_and_tells_nothing_of_the_name() {
        let entropy = SeededEntropy::new(1);
        let (one, two) = (DeviceSessionId::random(&entropy), DeviceSessionId::random(&entropy));
        assert_eq!(device_tag(&one), device_tag(&one));
        assert_ne!(device_tag(&one), device_tag(&two));
        assert_eq!(device_tag(&one).len(), 22);
        assert!(!device_tag(&one).contains(one.as_str()));
        assert_ne!(device_tag(&one), crate::csrf::form_token(&one)[..22]);
    }
}
