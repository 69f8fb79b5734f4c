//! What can go wrong, named by who must act.

use bowerbird_core::AccountId;

use crate::handoff::CallbackFault;
use crate::store::StoreFault;
use crate::transport::TransportFault;

/// Why a call of the kit gave no result. The text is for the person; it holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KitError {
    /// The person must sign in again; the account is marked so, and stays in the list.
    #[error("please sign in again")]
    SignInRequired {
        /// Which account.
        account: AccountId,
        /// A stable code: `session_invalid`, `refresh_failed`, `signed_out`, or the server's reason of `needs_reauth`; for an
        /// account that the device keeps also `session_expired`, `revoked`, `lost_response`, `moved`, `answer_refused`,
        /// `access_refused` and `no_refresh_token`.
        reason: String,
        /// Where the server repairs exactly this account, if it said so.
        repair_url: Option<String>,
    },
    /// The server could not be reached, after every try. Trying again is up to the person.
    #[error("the server cannot be reached; check the connection, then try again")]
    Offline(#[source] TransportFault),
    /// The server refused the request: the app must change it.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The server failed, after every try, or answered something that it must not.
    #[error("the server has a problem; please try again later")]
    Server(Box<Refusal>),
    /// The address that the sign-in came back to is none that may be used.
    #[error(transparent)]
    Callback(#[from] CallbackFault),
    /// The device could not keep or find a secret.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// There is no such account on this device.
    #[error("that account is not on this device")]
    UnknownAccount,
    /// The device has as many accounts as it may have.
    #[error("this device has as many accounts as it may have; remove one first")]
    TooManyAccounts,
    /// A sign-in at the account's own server that failed a check, or a server that cannot be used for one.
    #[cfg(feature = "on-device")]
    #[error("{0}")]
    OnDevice(Box<crate::on_device::OnDeviceFault>),
    /// The app's own mistake: an address or a method name that is none.
    #[error("the app made a mistake: {0}")]
    Mistake(String),
}

/// What the server said when it refused or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The status; 0 when the answer could not be read at all.
    pub status: u16,
    /// The stable code, as listed on the page of error codes; empty when there was none.
    pub code: String,
    /// What happened, for a person.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Why an account needs a new sign-in.
    pub reason: Option<String>,
    /// Where the server repairs the account.
    pub repair_url: Option<String>,
}

impl KitError {
    /// Whether the same call may succeed a little later, without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Offline(_) | Self::Server(_) | Self::Store(StoreFault::Locked))
    }

    pub(crate) fn mistake(what: impl Into<String>) -> Self {
        Self::Mistake(what.into())
    }
}
