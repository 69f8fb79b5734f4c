//! From "sign in" to the code: the pushed request (RFC 9126), the redirect, and the callback (RFC 9207).

mod callback;
mod par;
mod prompt;
mod url;

pub use callback::{CallbackError, CallbackParams, IssuerCheckError};
pub use par::{ParAnswer, ParError, PushedAuthorizationRequest};
pub use prompt::{Prompt, PromptError};
pub use url::authorization_url;
