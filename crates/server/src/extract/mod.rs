//! Extractors: who is asking, for which account, with what form.

mod account;
mod bearer;
mod client;
mod device_session;
mod form;
mod named_accounts;

pub(crate) use account::SelectedAccount;
pub(crate) use client::ClientAddress;
pub(crate) use device_session::{CredentialFault, Presented, SignedIn, Via};
pub(crate) use form::{AnybodysForm, Form, SignedInForm, read_json};
pub(crate) use named_accounts::NamedAccounts;
