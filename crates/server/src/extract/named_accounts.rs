//! Which accounts of the device a request is about: all of them, or the one that `Bowerbird-Account` names.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use bowerbird_core::Account;
use http::request::Parts as RequestParts;

use super::SignedIn;
use super::account::{SelectionFault, named_in};
use crate::error::ApiError;
use crate::parts::Parts;

/// The accounts that the request is about, at least one. They are on the device of the request, always.
pub(crate) struct NamedAccounts {
    pub(crate) signed_in: SignedIn,
    pub(crate) accounts: Vec<Arc<Account>>,
}

impl FromRequestParts<Parts> for NamedAccounts {
    type Rejection = SelectionFault;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, SelectionFault> {
        let signed_in = SignedIn::from_request_parts(parts, state).await.map_err(SelectionFault::Credential)?;
        let accounts = of(&signed_in, parts, state).await.map_err(SelectionFault::Account)?;
        Ok(Self { signed_in, accounts })
    }
}

async fn of(signed_in: &SignedIn, parts: &RequestParts, state: &Parts) -> Result<Vec<Arc<Account>>, ApiError> {
    match named_in(&parts.headers)? {
        Some(name) => Ok(vec![state.accounts().on_device(&signed_in.device, name).await?]),
        None => Ok(state.accounts().all_on_device(&signed_in.device).await?),
    }
}
