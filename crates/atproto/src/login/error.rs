//! Why a login did not begin, or did not end well. The sentences are for the person; causes go to the log.

use bowerbird_core::ports::{BoxError, StoreError};
use bowerbird_core::{AuthorizationRequest, Did, LoginEnding};
use bowerbird_oauth::{MetadataError, OriginError, ParError, TokenAnswerError, TokenErrorCode, TokenRequestError};
use bowerbird_vault::{GrantError, LoginSealError};
use http::StatusCode;

use crate::as_call::AsCallError;
use crate::client_identity::ClientKeyError;
use crate::discovery::DiscoveryError;
use crate::identity::{DidDocumentError, IdentityError};

/// Why a login did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartLoginError {
    /// The account could not be found, or is not what it says.
    #[error("Failed to resolve handle: {identifier}: {source}")]
    Identity {
        /// What was looked for.
        identifier: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// The account's servers could not be established.
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    /// The typed address cannot be a server's.
    #[error("that server address cannot be used: {0}")]
    ServerAddress(#[source] OriginError),
    /// The typed address is this server's own.
    #[error("that is the address of this server; enter your handle instead")]
    OwnAddress,
    /// The account's server is not on the list. The sentence names those that are.
    #[error("{0}")]
    PdsNotAllowed(String),
    /// The authorization server cannot create accounts.
    #[error("that server does not offer to create an account here; create one in its own app first")]
    PromptUnsupported,
    /// No account has the id of the repair link.
    #[error("that account is not known here")]
    UnknownAccount,
    /// The authorization server refused the pushed request.
    #[error("PAR request failed: {0}")]
    Par(#[source] ParError),
    /// The authorization server could not be called.
    #[error("PAR request failed: {0}")]
    Call(#[source] AsCallError),
    /// Too many logins are under way.
    #[error("too many people are signing in at this moment; try again in a few minutes")]
    TooManyLogins,
    /// The login could not be sealed.
    #[error("the login cannot be stored right now; try again")]
    Seal(#[source] LoginSealError),
    /// The store did not answer.
    #[error("the login cannot be stored right now; try again")]
    Store(#[source] StoreError),
}

impl StartLoginError {
    /// The stable code of the error answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Identity { source, .. } => identity_code(source),
            Self::Discovery(error) => discovery_code(error),
            Self::ServerAddress(_) | Self::OwnAddress => "address_not_allowed",
            Self::PdsNotAllowed(_) => "pds_not_allowed",
            Self::PromptUnsupported => "as_unsupported",
            Self::UnknownAccount => "account_not_found",
            Self::Par(ParError::Unreadable) => "as_response_invalid",
            Self::Par(_) => "par_failed",
            Self::Call(error) => call_code(error),
            Self::TooManyLogins => "too_many_logins",
            Self::Seal(_) | Self::Store(_) => "store_unavailable",
        }
    }

    /// The status of the error answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Identity { source, .. } => identity_status(source),
            Self::Discovery(error) => discovery_status(error),
            Self::ServerAddress(_) | Self::OwnAddress => StatusCode::BAD_REQUEST,
            Self::PdsNotAllowed(_) => StatusCode::FORBIDDEN,
            Self::UnknownAccount => StatusCode::NOT_FOUND,
            Self::Par(ParError::RateLimited { .. }) | Self::Seal(_) | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Par(_) | Self::Call(_) | Self::PromptUnsupported => StatusCode::BAD_GATEWAY,
            Self::TooManyLogins => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Why a login did not end well, and where it wanted to return to.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct FinishLoginError {
    /// What went wrong.
    #[source]
    pub fault: FinishLoginFault,
    /// Known once the login under way was found.
    under_way: Option<Box<LoginUnderWay>>,
}

/// What is known of a login that did not end well.
#[derive(Clone, Debug)]
pub struct LoginUnderWay {
    /// The path that it wanted to return to.
    pub return_to: String,
    /// Where its end was to go.
    pub ending: LoginEnding,
    /// The account that it was for.
    pub did: Option<Did>,
    /// The handle that it began with.
    pub handle: Option<String>,
}

impl LoginUnderWay {
    pub(super) fn of(request: &AuthorizationRequest) -> Self {
        Self {
            return_to: request.return_to.clone(),
            ending: request.ending.clone(),
            did: request.did.clone(),
            handle: request.handle.clone(),
        }
    }
}

/// What went wrong at the end of a login.
#[derive(Debug, thiserror::Error)]
pub enum FinishLoginFault {
    /// No login under way has this state: it is forged, was used, or expired.
    #[error("Invalid or expired state parameter")]
    InvalidState,
    /// The login began in another browser. It is still there for that one.
    #[error("this sign-in was begun in another browser; begin it again here")]
    SessionMismatch,
    /// The callback is malformed.
    #[error("the answer of the authorization server is malformed; sign in again")]
    InvalidRequest(#[source] BoxError),
    /// The callback does not say who sent it (RFC 9207).
    #[error("the answer does not name its issuer; sign in again")]
    IssMissing,
    /// The callback was sent by another authorization server than the one that was asked.
    #[error("Issuer mismatch: expected {expected}, got {found}")]
    IssMismatch {
        /// Who was asked.
        expected: String,
        /// Who answered, shortened to printable characters.
        found: String,
    },
    /// The person or the server said no.
    #[error("{}", denied_sentence(error, description.as_deref()))]
    Denied {
        /// The server's code.
        error: TokenErrorCode,
        /// The server's words, at most 200 printable characters; to be escaped where they are shown.
        description: Option<String>,
    },
    /// The authorization server's metadata could not be had, or are not acceptable.
    #[error("{0}")]
    Discovery(#[source] DiscoveryError),
    /// The key that the login began with is gone.
    #[error("{0}")]
    ClientKey(#[source] ClientKeyError),
    /// The token endpoint could not be called.
    #[error("Token exchange failed: {0}")]
    Call(#[source] AsCallError),
    /// The token endpoint gave no tokens.
    #[error("Token exchange failed: {0}")]
    Exchange(#[source] TokenRequestError),
    /// The token endpoint gave tokens that cannot be used. They were revoked.
    #[error("Token exchange failed: {0}")]
    Answer(#[source] TokenAnswerError),
    /// The account of the answer could not be looked up. The tokens were revoked.
    #[error("No PDS endpoint found for {did}: {source}")]
    Identity {
        /// The account of the answer.
        did: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// The answer is for an account that another authorization server speaks for. The tokens were revoked.
    #[error("Auth server mismatch on re-verification: expected {expected}, got {found}")]
    IssuerMismatch {
        /// The account of the answer.
        did: Did,
        /// Who speaks for the account.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// The answer is for another account than the one that the login was for. The tokens were revoked.
    #[error("DID mismatch in token: expected {expected}, got {found}")]
    AccountMismatch {
        /// The account that the login was for.
        expected: String,
        /// The account of the answer.
        found: String,
    },
    /// The account's server is not on the list. The tokens were revoked.
    #[error("{0}")]
    PdsNotAllowed(String),
    /// The grant could not be stored. The tokens were revoked.
    #[error("the sign-in could not be stored; try again")]
    Grant(#[source] GrantError),
    /// The login under way cannot be opened.
    #[error("the sign-in cannot be continued right now; begin it again")]
    Seal(#[source] LoginSealError),
    /// The store did not answer. If tokens had come, they were revoked.
    #[error("the sign-in could not be stored; try again")]
    Store(#[source] StoreError),
    /// The task of the login ended early; a fault of this server.
    #[error("the sign-in broke off; begin it again")]
    Interrupted,
}

impl FinishLoginError {
    pub(super) fn new(fault: FinishLoginFault) -> Self {
        Self { fault, under_way: None }
    }

    pub(super) fn of(fault: FinishLoginFault, under_way: LoginUnderWay) -> Self {
        Self { fault, under_way: Some(Box::new(under_way)) }
    }

    /// The path that the login wanted to return to, when it is known.
    pub fn return_to(&self) -> Option<&str> {
        self.under_way.as_ref().map(|login| login.return_to.as_str())
    }

    /// The login that it was, when that is known.
    pub fn under_way(&self) -> Option<&LoginUnderWay> {
        self.under_way.as_deref()
    }

    /// The stable code of the error answer.
    pub fn code(&self) -> &str {
        self.fault.code()
    }

    /// The status of the error answer.
    pub fn status(&self) -> StatusCode {
        self.fault.status()
    }
}

impl From<FinishLoginFault> for FinishLoginError {
    fn from(fault: FinishLoginFault) -> Self {
        Self::new(fault)
    }
}

impl FinishLoginFault {
    /// The stable code of the error answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidState => "invalid_state",
            Self::SessionMismatch => "login_session_mismatch",
            Self::InvalidRequest(_) => "invalid_request",
            Self::IssMissing => "iss_missing",
            Self::IssMismatch { .. } => "iss_mismatch",
            Self::Denied { error, .. } => denied_code(error),
            Self::Discovery(error) => discovery_code(error),
            Self::ClientKey(_) => "client_key_missing",
            Self::Call(error) => call_code(error),
            Self::Exchange(TokenRequestError::Unreadable) => "as_response_invalid",
            Self::Exchange(_) => "token_exchange_failed",
            Self::Answer(TokenAnswerError::DpopRequired { .. }) => "dpop_required",
            Self::Answer(TokenAnswerError::ScopeMissing | TokenAnswerError::AtprotoNotGranted) => "scope_missing",
            Self::Answer(_) => "as_response_invalid",
            Self::Identity { source, .. } => identity_code(source),
            Self::IssuerMismatch { .. } => "issuer_mismatch",
            Self::AccountMismatch { .. } => "account_mismatch",
            Self::PdsNotAllowed(_) => "pds_not_allowed",
            Self::Grant(_) | Self::Seal(_) | Self::Store(_) | Self::Interrupted => "store_unavailable",
        }
    }

    /// The status of the error answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::InvalidState
            | Self::SessionMismatch
            | Self::InvalidRequest(_)
            | Self::IssMissing
            | Self::IssMismatch { .. }
            | Self::Denied { .. } => StatusCode::BAD_REQUEST,
            // A code that the server does not take: somebody else's, or used (security row 8).
            Self::Exchange(TokenRequestError::Refused(answer))
                if matches!(answer.code, TokenErrorCode::InvalidGrant) && answer.status < 500 =>
            {
                StatusCode::BAD_REQUEST
            }
            Self::IssuerMismatch { .. } | Self::AccountMismatch { .. } | Self::PdsNotAllowed(_) => {
                StatusCode::FORBIDDEN
            }
            Self::Discovery(_) | Self::Call(_) | Self::Exchange(_) | Self::Answer(_) | Self::Identity { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::ClientKey(_) | Self::Grant(_) | Self::Seal(_) | Self::Store(_) | Self::Interrupted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

fn denied_sentence(error: &TokenErrorCode, description: Option<&str>) -> String {
    match (error, description) {
        (TokenErrorCode::AccessDenied, _) => "You did not allow the access.".to_owned(),
        (_, Some(words)) => format!("The account's server refused the sign-in: {words}"),
        (_, None) => "The account's server refused the sign-in.".to_owned(),
    }
}

/// The codes of RFC 6749 §4.1.2.1 and `OpenID` Connect Core §3.1.2.6 go through; others could be anything.
const fn denied_code(error: &TokenErrorCode) -> &'static str {
    match error {
        TokenErrorCode::AccessDenied => "access_denied",
        TokenErrorCode::InvalidRequest => "invalid_request",
        TokenErrorCode::UnauthorizedClient => "unauthorized_client",
        TokenErrorCode::InvalidScope => "invalid_scope",
        TokenErrorCode::ServerError => "server_error",
        TokenErrorCode::TemporarilyUnavailable => "temporarily_unavailable",
        _ => "authorization_failed",
    }
}

pub(crate) const fn identity_code(error: &IdentityError) -> &'static str {
    match error {
        IdentityError::BadSyntax(_) | IdentityError::NotClaimed(_) => "invalid_handle",
        IdentityError::HandleNotFound(_) => "handle_not_found",
        IdentityError::Ambiguous(_) => "ambiguous_handle",
        IdentityError::AddressNotAllowed(_) => "address_not_allowed",
        IdentityError::BadDocument(DidDocumentError::PdsIsThisServer) => "pds_not_allowed",
        IdentityError::UnsupportedMethod
        | IdentityError::DidNotFound
        | IdentityError::BadDocument(_)
        | IdentityError::Unreachable(_) => "identity_unresolvable",
    }
}

pub(crate) const fn identity_status(error: &IdentityError) -> StatusCode {
    match error {
        IdentityError::BadSyntax(_)
        | IdentityError::NotClaimed(_)
        | IdentityError::HandleNotFound(_)
        | IdentityError::Ambiguous(_)
        | IdentityError::UnsupportedMethod
        | IdentityError::DidNotFound
        | IdentityError::AddressNotAllowed(_) => StatusCode::BAD_REQUEST,
        IdentityError::BadDocument(_) | IdentityError::Unreachable(_) => StatusCode::BAD_GATEWAY,
    }
}

pub(crate) const fn discovery_code(error: &DiscoveryError) -> &'static str {
    match error {
        DiscoveryError::Unreachable(_) => "as_unreachable",
        DiscoveryError::AddressNotAllowed(_) => "address_not_allowed",
        DiscoveryError::Metadata(MetadataError::Unsupported(_)) => "as_unsupported",
        DiscoveryError::Metadata(_) => "as_metadata_invalid",
    }
}

pub(crate) const fn discovery_status(error: &DiscoveryError) -> StatusCode {
    match error {
        DiscoveryError::AddressNotAllowed(_) => StatusCode::BAD_REQUEST,
        DiscoveryError::Unreachable(_) | DiscoveryError::Metadata(_) => StatusCode::BAD_GATEWAY,
    }
}

const fn call_code(error: &AsCallError) -> &'static str {
    match error {
        AsCallError::Http(_) => "as_unreachable",
        AsCallError::NonceLoop(_) => "dpop_nonce_loop",
        AsCallError::Unsignable(_) => "as_metadata_invalid",
    }
}
