//! Why a sign-in with an app password did not succeed. The sentences are for the person; causes go to the log.

use bowerbird_core::ports::{BoxError, StoreError};
use bowerbird_vault::GrantError;
use http::StatusCode;

use crate::discovery::DiscoveryError;
use crate::identity::IdentityError;
use crate::login::{discovery_code, discovery_status, identity_code, identity_status};

/// Why nobody was signed in. Nothing was stored; a session that had begun was ended at its server.
#[derive(Debug, thiserror::Error)]
pub enum AppPasswordError {
    /// The account could not be found, or is not what it says. The password was not sent.
    #[error("Failed to resolve handle: {identifier}: {source}")]
    Identity {
        /// What was looked for.
        identifier: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// A server address names no account. The password was not sent.
    #[error("an app password belongs to an account: enter its handle or its DID")]
    NotAnAccount,
    /// Whether the account's server is on the list could not be found out. The password was not sent.
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    /// The account's server is not on the list. The password was not sent.
    #[error("{0}")]
    PdsNotAllowed(String),
    /// The account's server does not know that password.
    #[error("the handle and the app password do not fit together")]
    WrongPassword,
    /// The server wants a code that it has sent by mail.
    #[error("the account's server asks for the code that it has sent by mail")]
    AuthFactorTokenRequired,
    /// The code is wrong or too old.
    #[error("the code from the mail is wrong or too old")]
    AuthFactorTokenInvalid,
    /// The password was the account's main one. The session is ended.
    #[error("that is the account's main password; it was not kept, and nobody is signed in")]
    MainPassword,
    /// The account is connected by OAuth, which an app password must not replace. The session is ended.
    #[error("that account is signed in here without a password already; an app password would lessen its access")]
    ConnectedByOauth,
    /// The server took the account down.
    #[error("the account's server has taken that account down")]
    TakenDown,
    /// The server wants fewer attempts.
    #[error("the account's server asks to wait before the next attempt")]
    RateLimited {
        /// In seconds, if it says.
        retry_after_seconds: Option<u32>,
    },
    /// The server answered for another account. The session is ended.
    #[error("the account's server answered for another account")]
    AccountMismatch,
    /// The server gave a session of a kind that is not known here. The session is ended.
    #[error("the account's server gave access of an unknown kind")]
    UnknownKind,
    /// The server could not be asked, or made no sense.
    #[error("the account's server could not be asked")]
    Server(#[source] BoxError),
    /// The session could not be stored. It is ended.
    #[error("the sign-in could not be stored; try again")]
    Grant(#[source] GrantError),
    /// The store did not answer.
    #[error("the sign-in could not be stored; try again")]
    Store(#[source] StoreError),
    /// The task of the sign-in ended early; a fault of this server.
    #[error("the sign-in broke off; begin it again")]
    Interrupted,
}

impl AppPasswordError {
    /// The stable code of the error answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Identity { source, .. } => identity_code(source),
            Self::NotAnAccount => "invalid_handle",
            Self::Discovery(error) => discovery_code(error),
            Self::PdsNotAllowed(_) => "pds_not_allowed",
            Self::WrongPassword => "app_password_invalid",
            Self::AuthFactorTokenRequired => "auth_factor_token_required",
            Self::AuthFactorTokenInvalid => "auth_factor_token_invalid",
            Self::MainPassword => "app_password_required",
            Self::ConnectedByOauth => "connected_by_oauth",
            Self::TakenDown => "account_taken_down",
            Self::RateLimited { .. } => "rate_limited",
            Self::AccountMismatch => "account_mismatch",
            Self::UnknownKind => "pds_response_invalid",
            Self::Server(_) => "pds_unreachable",
            Self::Grant(_) | Self::Store(_) | Self::Interrupted => "store_unavailable",
        }
    }

    /// The status of the error answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Identity { source, .. } => identity_status(source),
            Self::NotAnAccount => StatusCode::BAD_REQUEST,
            Self::Discovery(error) => discovery_status(error),
            Self::WrongPassword | Self::AuthFactorTokenRequired | Self::AuthFactorTokenInvalid | Self::MainPassword => {
                StatusCode::UNAUTHORIZED
            }
            Self::PdsNotAllowed(_) | Self::TakenDown => StatusCode::FORBIDDEN,
            Self::ConnectedByOauth => StatusCode::CONFLICT,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::AccountMismatch | Self::UnknownKind | Self::Server(_) => StatusCode::BAD_GATEWAY,
            Self::Grant(_) | Self::Store(_) | Self::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
