//! The token endpoint (RFC 6749 §3.2): requests, raw answers, their validation, and errors by what they mean.

mod answer;
mod error;
mod request;
mod validate;

pub(crate) use error::printable;
pub(crate) use validate::is_did;

pub use answer::TokenAnswer;
pub use error::{GrantFate, OAuthErrorAnswer, TokenErrorCode, TokenRequestError};
pub use request::TokenRequest;
pub use validate::{ExpectedAnswer, TokenAnswerError, ValidatedTokens};
