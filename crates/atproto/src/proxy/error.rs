//! Why a proxied call brought no answer of the account's server.

use bowerbird_core::NeedsReauth;
use bowerbird_core::ports::{BoxError, StoreError};
use http::StatusCode;

/// A call that was refused here, or that failed on its way.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Only GET and POST are XRPC.
    #[error("API calls use GET or POST")]
    MethodNotAllowed,
    /// The policy refuses the method.
    #[error("{0} is not available through this server")]
    MethodDenied(String),
    /// The policy refuses the service in `atproto-proxy`.
    #[error("atproto-proxy names a service that this server does not pass calls on to")]
    ServiceDenied,
    /// A header of the call is malformed.
    #[error("the header {0} is malformed")]
    HeaderInvalid(&'static str),
    /// The body of the call broke off, or was malformed, before it was complete.
    #[error("the body ended before it was complete")]
    BodyUnreadable,
    /// The account never connected, or was signed out everywhere.
    #[error("the account is not connected; sign in again")]
    NotConnected,
    /// The grant is gone; only the person can repair it.
    #[error("{}", reason.explanation())]
    NeedsReauth {
        /// Why.
        reason: NeedsReauth,
    },
    /// No usable access token at this moment, or the body could not be sent a second time.
    #[error("the account's server cannot be called right now; try again")]
    TryLater {
        /// Seconds after which trying again makes sense, when known.
        after_seconds: Option<u32>,
    },
    /// The account's server did not answer, or answered with something that is not passed on.
    #[error("the account's server did not give a usable answer")]
    Upstream(#[source] UpstreamFault),
    /// The account's server asks for another DPoP nonce every time.
    #[error("the account's server asks for a new DPoP nonce every time")]
    NonceLoop,
    /// Our own database does not answer.
    #[error("this server cannot read its database right now; try again")]
    Store(#[source] StoreError),
}

/// What was wrong with an upstream answer; for the log.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// No answer.
    #[error(transparent)]
    Http(#[from] bowerbird_core::ports::HttpError),
    /// A redirect; credentials are never carried along one.
    #[error("it answered with a redirect ({0})")]
    Redirect(StatusCode),
    /// The target cannot be written as a URL.
    #[error("the call's target is not a URL")]
    Target,
    /// It refuses even an access token that it issued a moment ago.
    #[error("it refuses a fresh access token")]
    TokenRefused,
    /// The request could not be signed.
    #[error("the call could not be signed")]
    Unsignable(#[source] BoxError),
}

impl ProxyError {
    /// The stable code of the error answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MethodDenied(_) => "method_denied",
            Self::ServiceDenied => "service_denied",
            Self::HeaderInvalid(_) => "invalid_request",
            Self::BodyUnreadable => "body_unreadable",
            Self::NotConnected => "not_connected",
            Self::NeedsReauth { .. } => "needs_reauth",
            Self::TryLater { .. } => "try_later",
            Self::Upstream(_) => "upstream_failed",
            Self::NonceLoop => "dpop_nonce_loop",
            Self::Store(_) => "store_unavailable",
        }
    }

    /// The status of the error answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MethodDenied(_) | Self::ServiceDenied => StatusCode::FORBIDDEN,
            Self::HeaderInvalid(_) | Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::NotConnected | Self::NeedsReauth { .. } => StatusCode::UNAUTHORIZED,
            Self::Upstream(_) | Self::NonceLoop => StatusCode::BAD_GATEWAY,
            Self::TryLater { .. } | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
