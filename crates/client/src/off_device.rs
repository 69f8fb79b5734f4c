//! In place of on-device sign-in, where the kit is built without it: an app of before may have left accounts that have one.

use bowerbird_core::AccountId;
use bytes::Bytes;
use http::Response;

use crate::client::{Call, Checked};
use crate::error::KitError;
use crate::kit::Kit;

impl Kit {
    pub(crate) fn call_on_device(&self, id: AccountId, _call: &Call) -> Result<Response<Bytes>, KitError> {
        Err(self.ask_for_sign_in(id, "signed_out", None))
    }

    pub(crate) fn check_on_device(&self, id: AccountId) -> Result<Checked, KitError> {
        Err(self.ask_for_sign_in(id, "signed_out", None))
    }

    pub(crate) fn renew_on_device(&self, id: AccountId) -> Result<(), KitError> {
        Err(self.ask_for_sign_in(id, "signed_out", None))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the signature of the real one")]
    pub(crate) fn renew_due_on_device(&self, id: AccountId) -> Option<Result<(), KitError>> {
        Some(self.renew_on_device(id))
    }
}
