//! What can be wrong with a sign-in on the device, named by who is at fault.

use bowerbird_core::identity::DidDocumentError;
use bowerbird_oauth::{DpopExchangeError, MetadataError, OAuthErrorAnswer, TokenAnswerError, TokenErrorCode};

use crate::error::KitError;

/// Why a sign-in on the device did not come about. No variant holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OnDeviceFault {
    /// What was typed is neither handle, DID nor the address of a server.
    #[error("{0}")]
    NotAnIdentifier(#[from] bowerbird_core::LoginIdentifierError),
    /// Nothing says whose the handle is.
    #[error("the handle {0} was not found; check its spelling")]
    HandleNotFound(String),
    /// The handle's records name two accounts.
    #[error("the handle {0} points to more than one account; its owner has to repair its DNS records")]
    HandleAmbiguous(String),
    /// The account that the handle names does not claim it.
    #[error("the handle {0} names an account that does not claim it; sign in with the account's DID instead")]
    HandleNotClaimed(String),
    /// No directory knows the account.
    #[error("that account does not exist, or no longer exists")]
    AccountNotFound,
    /// A DID of a method that the AT Protocol does not use.
    #[error("that DID's method is not supported; use did:plc or did:web with a plain host name")]
    DidUnsupported,
    /// The account's document cannot be used.
    #[error("{0}")]
    Document(#[from] DidDocumentError),
    /// An address that an app does not speak to: no https, no public name.
    #[error("the account's server is at an address that is not allowed")]
    AddressNotAllowed,
    /// The account's server, or its authorization server, is set up in a way that cannot be used.
    #[error("the account's server is set up in a way that cannot be used: {0}")]
    Metadata(#[from] MetadataError),
    /// The authorization server asks for a nonce without end, or for one that it does not give.
    #[error("the account's server asks for something that it does not give (DPoP nonce)")]
    Nonce,
    /// The address that came back does not say who answers.
    #[error("the answer does not name its server; please start again")]
    IssMissing,
    /// Another server answers than the one that was asked.
    #[error("the answer comes from {found}, and {expected} was asked; please start again")]
    IssMismatch {
        /// The server that was asked.
        expected: String,
        /// What the answer says.
        found: String,
    },
    /// The authorization server said no, with a code of OAuth.
    #[error("the account's server refused the sign-in ({code}, status {status})")]
    Refused {
        /// The status.
        status: u16,
        /// The code; `other` for one that OAuth does not know.
        code: String,
    },
    /// The tokens are not what was asked for. They were revoked.
    #[error("{0}")]
    Answer(#[from] TokenAnswerError),
    /// Somebody else signed in than the one who was asked for. The tokens were revoked.
    #[error("{found} has signed in, and {expected} was asked for; sign in with the right account")]
    AccountMismatch {
        /// Who was asked for.
        expected: String,
        /// Who came.
        found: String,
    },
    /// The server speaks for an account that trusts another one. The tokens were revoked.
    #[error("{found} gave tokens for an account of {expected}")]
    IssuerMismatch {
        /// Whom the account's server trusts.
        expected: String,
        /// Who gave the tokens.
        found: String,
    },
}

impl OnDeviceFault {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAnIdentifier(_) => "invalid_identifier",
            Self::HandleNotFound(_) => "handle_not_found",
            Self::HandleAmbiguous(_) => "handle_ambiguous",
            Self::HandleNotClaimed(_) => "handle_not_claimed",
            Self::AccountNotFound => "account_not_found",
            Self::DidUnsupported => "did_unsupported",
            Self::Document(_) => "document_not_usable",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::Metadata(_) => "server_not_usable",
            Self::Nonce => "nonce_loop",
            Self::IssMissing => "iss_missing",
            Self::IssMismatch { .. } => "iss_mismatch",
            Self::Refused { .. } => "refused",
            Self::Answer(_) => "tokens_not_usable",
            Self::AccountMismatch { .. } => "account_mismatch",
            Self::IssuerMismatch { .. } => "issuer_mismatch",
        }
    }

    /// A refusal without the server's own words, which may repeat what it was sent.
    pub(super) fn refused(answer: &OAuthErrorAnswer) -> Self {
        let code = match &answer.code {
            TokenErrorCode::Other(_) => "other",
            known => known.as_str(),
        };
        Self::Refused { status: answer.status, code: code.to_owned() }
    }
}

impl From<OnDeviceFault> for KitError {
    fn from(fault: OnDeviceFault) -> Self {
        Self::OnDevice(Box::new(fault))
    }
}

impl From<DpopExchangeError> for OnDeviceFault {
    fn from(_: DpopExchangeError) -> Self {
        Self::Nonce
    }
}
