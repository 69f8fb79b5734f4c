//! What can go wrong, named by who must act.

use bowerbird_client::{AccountId, CallbackFault, KitError};

/// Why a call gave no result. The text is for the person; nothing here is a secret.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum ClientError {
    /// The person must sign in again; the account is marked so, and stays in the list.
    #[error("please sign in again")]
    SignInRequired {
        /// Which account.
        account: String,
        /// A stable code: `session_invalid`, `refresh_failed`, `signed_out`, or the server's reason.
        reason: String,
        /// Where the server repairs exactly this account, if it said so.
        repair_url: Option<String>,
    },
    /// The server could not be reached, after every try. Offer to try again.
    #[error("the server cannot be reached; check the connection, then try again")]
    Offline {
        /// For the log.
        detail: String,
    },
    /// The server refused the request.
    #[error("{explanation}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's stable code.
        code: String,
        /// What happened, for the person.
        explanation: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The server failed, after every try.
    #[error("the server has a problem; please try again later")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The server's stable code.
        code: String,
    },
    /// The address that the sign-in came back to is none that may be used.
    #[error("{explanation}")]
    Callback {
        /// `not_ours`, `token_in_url`, `malformed`, `not_started`, or the error that came back, such as `access_denied`.
        code: String,
        /// What happened, for the person.
        explanation: String,
    },
    /// The secure store could not keep or find a secret.
    #[error("{detail}")]
    Store {
        /// What happened.
        detail: String,
    },
    /// There is no such account on this device.
    #[error("that account is not on this device")]
    UnknownAccount,
    /// The device has as many accounts as it may have.
    #[error("this device has as many accounts as it may have; remove one first")]
    TooManyAccounts,
    /// A sign-in at the account's own server that failed a check, or a server that cannot be used for one.
    #[error("{explanation}")]
    OnDevice {
        /// A stable code, such as `handle_not_found`, `server_not_usable`, `iss_mismatch`, `account_mismatch`.
        code: String,
        /// What happened, for the person.
        explanation: String,
    },
    /// The app's own mistake: an address, an id or a method name that is none.
    #[error("the app made a mistake: {detail}")]
    Mistake {
        /// Which.
        detail: String,
    },
    /// The device has no thread for the kit.
    #[error("the device cannot do that now: {detail}")]
    Device {
        /// What happened.
        detail: String,
    },
}

impl From<KitError> for ClientError {
    fn from(error: KitError) -> Self {
        let text = error.to_string();
        match error {
            KitError::SignInRequired { account, reason, repair_url } => {
                Self::SignInRequired { account: account.to_string(), reason, repair_url }
            }
            KitError::Offline(fault) => Self::Offline { detail: fault.detail },
            KitError::Refused(refusal) => Self::Refused {
                status: refusal.status,
                code: refusal.code,
                explanation: refusal.message,
                hint: refusal.hint,
            },
            KitError::Server(refusal) => Self::Server { status: refusal.status, code: refusal.code },
            KitError::Callback(fault) => Self::Callback { code: code(&fault), explanation: text },
            KitError::Store(_) => Self::Store { detail: text },
            KitError::UnknownAccount => Self::UnknownAccount,
            KitError::TooManyAccounts => Self::TooManyAccounts,
            KitError::OnDevice(fault) => Self::OnDevice { code: fault.code().to_owned(), explanation: text },
            KitError::Mistake(detail) => Self::Mistake { detail },
        }
    }
}

fn code(fault: &CallbackFault) -> String {
    match fault {
        CallbackFault::NotOurs => "not_ours".to_owned(),
        CallbackFault::TokenInUrl => "token_in_url".to_owned(),
        CallbackFault::Malformed => "malformed".to_owned(),
        CallbackFault::NotStarted => "not_started".to_owned(),
        CallbackFault::Refused { error, .. } => error.clone(),
    }
}

/// Reads an id that the app got from the kit.
pub(crate) fn id(text: &str) -> Result<AccountId, ClientError> {
    AccountId::parse(text).map_err(|_| ClientError::UnknownAccount)
}
