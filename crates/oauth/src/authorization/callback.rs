//! What the browser brings back (RFC 6749 §4.1.2, RFC 9207).

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::{
    Issuer, Secret,
    token::{TokenErrorCode, printable},
};

/// Longest query string, and longest single values, in bytes.
const MAX_QUERY: usize = 16 * 1024;
const MAX_STATE: usize = 512;
const MAX_CODE: usize = 4096;

/// The parameters of a callback, told apart into consent and refusal.
#[derive(Clone, Debug)]
pub enum CallbackParams {
    /// The person consented; the code may be exchanged after [`Self::check_issuer`].
    Granted {
        /// Finds the login under way.
        state: Secret,
        /// The code, single use.
        code: Secret,
        /// Who says so.
        iss: Option<String>,
    },
    /// The person or the server refused (`access_denied`, `login_required`, …).
    Refused {
        /// Finds the login under way, which is over now.
        state: Secret,
        /// The error code.
        error: TokenErrorCode,
        /// Its description, at most 200 printable characters; still to be escaped where it is shown.
        description: Option<String>,
        /// Who says so.
        iss: Option<String>,
    },
}

impl CallbackParams {
    /// Reads a query string (without `?`). Every parameter may appear once; arrays and JARM are refused.
    pub fn parse(query: &str) -> Result<Self, CallbackError> {
        if query.len() > MAX_QUERY {
            return Err(CallbackError::TooLong);
        }
        let mut given = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name.contains(['[', ']']) {
                return Err(CallbackError::Array { name: printable(&name, 40) });
            }
            let shown = printable(&name, 40);
            if given.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(CallbackError::Duplicate { name: shown });
            }
        }
        if given.contains_key("response") {
            return Err(CallbackError::Jarm);
        }
        let state = given.remove("state").filter(|state| is_visible(state, MAX_STATE));
        let state = Secret::new(state.ok_or(CallbackError::StateMissing)?);
        let iss = given.remove("iss");
        match (given.remove("code"), given.remove("error")) {
            (Some(_), Some(_)) => Err(CallbackError::CodeAndError { state }),
            (Some(code), None) if is_visible(&code, MAX_CODE) => {
                Ok(Self::Granted { state, code: Secret::new(code), iss })
            }
            (None, Some(error)) if !error.is_empty() => {
                let description = given.remove("error_description").map(|text| printable(&text, 200));
                Ok(Self::Refused { state, error: TokenErrorCode::parse(&error), description, iss })
            }
            _ => Err(CallbackError::NeitherCodeNorError { state }),
        }
    }

    /// The state that finds the login under way.
    pub fn state(&self) -> &Secret {
        match self {
            Self::Granted { state, .. } | Self::Refused { state, .. } => state,
        }
    }

    /// Checks that the authorization server which the login began with is the one that answers (RFC 9207 §2.4).
    ///
    /// Call it before the code is used, and for refusals too. Metadata without the promise to send `iss` was refused
    /// before, so that a missing one is always a fault.
    pub fn check_issuer(&self, expected: &Issuer) -> Result<(), IssuerCheckError> {
        let (Self::Granted { iss, .. } | Self::Refused { iss, .. }) = self;
        match iss {
            None => Err(IssuerCheckError::Missing),
            Some(iss) if expected.is(iss) => Ok(()),
            Some(iss) => {
                Err(IssuerCheckError::Mismatch { expected: expected.as_str().to_owned(), found: printable(iss, 200) })
            }
        }
    }
}

fn is_visible(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Why a callback cannot be read; all of them are the sender's fault (400 `invalid_request`, except as said).
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallbackError {
    /// The query is longer than 16 KB.
    #[error("the callback's query is too long")]
    TooLong,
    /// A parameter appears more than once.
    #[error("the callback's parameter {name:?} appears more than once")]
    Duplicate {
        /// Its name, at most 40 printable characters.
        name: String,
    },
    /// A parameter is written as an array.
    #[error("the callback's parameter {name:?} is an array")]
    Array {
        /// Its name, at most 40 printable characters.
        name: String,
    },
    /// The answer is wrapped in a JWT (`response`), which was not asked for.
    #[error("the callback is a signed response (JARM), which was not asked for")]
    Jarm,
    /// There is no usable `state` (`invalid_state`).
    #[error("the callback has no usable state; begin the login again")]
    StateMissing,
    /// `code` and `error` stand together; the login is over.
    #[error("the callback has a code and an error at once; begin the login again")]
    CodeAndError {
        /// Finds the login under way, which must end.
        state: Secret,
    },
    /// Neither a usable `code` nor an `error`; the login is over.
    #[error("the callback has neither a usable code nor an error; begin the login again")]
    NeitherCodeNorError {
        /// Finds the login under way, which must end.
        state: Secret,
    },
}

impl CallbackError {
    /// The state of a login that this callback ends, when it names one.
    pub fn state(&self) -> Option<&Secret> {
        match self {
            Self::CodeAndError { state } | Self::NeitherCodeNorError { state } => Some(state),
            _ => None,
        }
    }
}

/// Why a callback is not from the authorization server that the login began with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerCheckError {
    /// `iss` is absent although every AT Protocol server promises it (`iss_missing`).
    #[error("the callback does not name its issuer (iss); begin the login again")]
    Missing,
    /// `iss` names another server (`iss_mismatch`).
    #[error("Issuer mismatch: expected {expected}, got {found}; begin the login again")]
    Mismatch {
        /// The issuer that the login began with.
        expected: String,
        /// The issuer that the callback names, at most 200 printable characters.
        found: String,
    },
}

#[cfg(test)]
#[path = "callback_tests.rs"]
mod tests;
