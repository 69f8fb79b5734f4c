//! Why an identity could not be established.

use bowerbird_core::identity::DidDocumentError;
use bowerbird_core::ports::{DnsError, HttpError, HttpFault};
use bowerbird_core::{DidError, Handle};

/// An identity that is not usable for a login or a check, by who is at fault.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text is not a DID.
    #[error("{0}")]
    BadSyntax(#[source] DidError),
    /// A DID, of a method that the AT Protocol does not use (or a did:web with a path or a port).
    #[error("that DID's method is not supported; use did:plc or did:web with a plain host name")]
    UnsupportedMethod,
    /// Nothing says whose the handle is.
    #[error("the handle {0} was not found; check its spelling")]
    HandleNotFound(Handle),
    /// The handle names two different accounts at once.
    #[error("the handle {0} points to more than one account; its owner has to repair its DNS records")]
    Ambiguous(Handle),
    /// The handle's account does not claim the handle.
    #[error("the handle {0} names an account that does not claim it; sign in with the account's DID instead")]
    NotClaimed(Handle),
    /// No directory knows the DID, or it was withdrawn.
    #[error("that account does not exist, or no longer exists")]
    DidNotFound,
    /// The DID document is malformed, is about someone else, or names no usable server.
    #[error("{0}")]
    BadDocument(#[from] DidDocumentError),
    /// The host, or an address that it resolves to, is not a public one.
    #[error("that address is not allowed")]
    AddressNotAllowed(#[source] HttpError),
    /// A directory or host did not answer, or answered with an error of its own.
    #[error("the account's directory or server could not be reached; try again later")]
    Unreachable(#[source] Unreachable),
}

/// What did not answer; for the operator's log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// No HTTP answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No DNS answer.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// An HTTP answer that is neither a document nor a clear "no".
    #[error("the directory answered {0}")]
    Status(http::StatusCode),
}

impl IdentityError {
    /// Sorts a failed request: an address that we refuse is not the same as one that is down.
    pub(crate) fn of_http(error: HttpError) -> Self {
        match error.fault {
            HttpFault::AddressNotAllowed | HttpFault::UrlNotAllowed => Self::AddressNotAllowed(error),
            _ => Self::Unreachable(Unreachable::Http(error)),
        }
    }

    /// Whether another way of asking could still find it.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::HandleNotFound(_) | Self::Unreachable(_) | Self::AddressNotAllowed(_))
    }
}
