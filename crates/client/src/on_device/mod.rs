//! Sign-in without a Bowerbird server: the app is a public OAuth client of its own, and the device keeps the tokens.
//!
//! What one loses against a server: a sign-in ends after fourteen days, each device has its own, and nothing is refreshed while the
//! app does not run. What one gains: no server. See the page "Use the kit in an app".
//!
//! | step | module |
//! |---|---|
//! | what the app is, and whom it asks | `settings` |
//! | handle or DID → account → authorization server | `identity`, `dns`, `discovery`, `fetch` |
//! | pushed request, browser, callback, tokens | `sign_in`, `under_way`, `complete`, `as_call` |
//! | what is kept | `grant` |
//! | refreshing it without ever losing it | `renew` |
//! | calls | `call` |
//! | ending it | `revoke` |

mod as_call;
mod call;
mod complete;
mod discovery;
mod dns;
mod fault;
mod fetch;
pub(crate) mod grant;
mod identity;
mod peers;
mod renew;
mod revoke;
mod settings;
mod sign_in;
mod under_way;

use std::collections::HashMap;
use std::sync::Arc;

use bowerbird_core::AccountId;
pub use fault::OnDeviceFault;
use parking_lot::Mutex;
pub use settings::OnDevice;

use self::grant::Grant;
use self::peers::Peers;
use crate::error::KitError;
use crate::flights::Flights;
use crate::kit::Kit;
use crate::roster::Shelf;
use crate::store::StoreFault;

/// What the kit holds in memory for it.
#[derive(Default)]
pub(crate) struct OnDeviceState {
    peers: Peers,
    refreshes: Flights<AccountId, Result<Arc<Grant>, KitError>>,
    /// Successors that the store did not take. Nobody else holds them.
    /// Each with the one that it comes from. This lock is taken before that of the list.
    pub(crate) unsaved: Mutex<HashMap<AccountId, (Grant, Grant)>>,
}

impl Kit {
    /// How the app presents itself.
    fn app(&self) -> Result<&OnDevice, KitError> {
        let app = self.settings.on_device.as_ref();
        app.ok_or_else(|| KitError::mistake("sign-in on the device is not configured; see Settings::with_on_device"))
    }
}

impl Shelf<'_> {
    pub(crate) fn grant(&self, id: AccountId) -> Result<Option<Grant>, StoreFault> {
        self.load(crate::keys::StoreKey::Grant(id))?.map(|kept| Grant::from_secret(&kept)).transpose()
    }
}
