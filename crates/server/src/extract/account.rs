//! Which account of the device a request is for: the active one, or the one that `Bowerbird-Account` names.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use bowerbird_core::Account;
use http::request::Parts as RequestParts;
use http::{HeaderMap, HeaderName};

use super::{CredentialFault, SignedIn};
use crate::error::ApiError;
use crate::parts::Parts;

/// Names another account of the device, by id or DID.
pub(crate) const ACCOUNT_HEADER: HeaderName = HeaderName::from_static("bowerbird-account");

/// The account that the request is for. It is on the device of the request, always.
pub(crate) struct SelectedAccount(pub(crate) Arc<Account>);

/// Why there is none.
pub(crate) enum SelectionFault {
    /// Nobody is signed in.
    Credential(CredentialFault),
    /// Not on this device.
    Account(ApiError),
}

impl FromRequestParts<Parts> for SelectedAccount {
    type Rejection = SelectionFault;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, SelectionFault> {
        let SignedIn { device, .. } =
            SignedIn::from_request_parts(parts, state).await.map_err(SelectionFault::Credential)?;
        let accounts = state.accounts();
        let account = match named_in(&parts.headers).map_err(SelectionFault::Account)? {
            None => {
                let active = accounts.active(&device).await.map_err(|error| SelectionFault::Account(error.into()))?;
                active.ok_or(SelectionFault::Credential(CredentialFault::Missing))?
            }
            Some(name) => accounts.on_device(&device, name).await.map_err(SelectionFault::Account)?,
        };
        Ok(Self(account))
    }
}

/// What the header names, if it is there.
pub(super) fn named_in(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut names = headers.get_all(ACCOUNT_HEADER).iter();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => name.to_str().map(Some).map_err(|_| ApiError::account_not_found()),
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request("ambiguous_account", "Bowerbird-Account was sent more than once"))
        }
    }
}

impl IntoResponse for SelectionFault {
    fn into_response(self) -> Response {
        match self {
            Self::Credential(fault) => fault.into_response(),
            Self::Account(error) => error.into_response(),
        }
    }
}
