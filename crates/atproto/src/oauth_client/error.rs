//! Why the client could not do what was asked.

use bowerbird_core::ports::{BoxError, StoreError};
use bowerbird_core::{LoginIdentifierError, NeedsReauth};
use bowerbird_vault::CheckoutError;

use crate::login::{FinishLoginError, ReleaseError, StartLoginError};
use crate::proxy::ProxyError;

/// A failure of [`OAuthClient`](crate::OAuthClient), by operation.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// What was typed is neither handle, DID nor server address.
    #[error(transparent)]
    Identifier(#[from] LoginIdentifierError),
    /// The login did not begin.
    #[error(transparent)]
    Start(#[from] StartLoginError),
    /// The login did not end well: `Invalid or expired state parameter`, `DID mismatch in token: …` and so on.
    #[error(transparent)]
    Finish(#[from] FinishLoginError),
    /// The URL is not at the session's own server.
    #[error("Unsafe URL: {0}")]
    UnsafeUrl(String),
    /// There is no such session here (any more).
    #[error("Session not found")]
    SessionNotFound,
    /// The grant is gone; the person must sign in again.
    #[error("Token refresh failed: {}", .0.explanation())]
    NeedsReauth(NeedsReauth),
    /// The access token could not be renewed now; nothing is lost.
    #[error("Token refresh failed: {0}")]
    Refresh(#[source] CheckoutError),
    /// The account's server gave no usable answer.
    #[error("PDS request failed: {0}")]
    PdsRequest(#[source] ProxyError),
    /// The answer broke off, or is larger than 16 MB.
    #[error("PDS request failed: the answer could not be read")]
    Answer(#[source] BoxError),
    /// The session could not be given up.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OAuthError {
    /// The status of an error answer to a browser.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Identifier(_) | Self::UnsafeUrl(_) => http::StatusCode::BAD_REQUEST,
            Self::Start(error) => error.status(),
            Self::Finish(error) => error.status(),
            Self::SessionNotFound | Self::NeedsReauth(_) => http::StatusCode::UNAUTHORIZED,
            Self::PdsRequest(error) => error.status(),
            Self::Answer(_) => http::StatusCode::BAD_GATEWAY,
            Self::Refresh(_) | Self::Release(_) | Self::Store(_) => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
