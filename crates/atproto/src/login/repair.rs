//! New consent for an account whose grant is gone.

use bowerbird_core::{AccountId, BrowserBinding, DeviceSessionId, LoginEnding, LoginIdentifier, LoginPurpose};

use super::{Logins, StartLogin, StartLoginError, StartedLogin};

impl Logins {
    /// Begins the login behind a repair link. It is bound to the account: no other one may come back from it.
    pub async fn start_repair(
        &self,
        account: AccountId,
        device: Option<DeviceSessionId>,
        browser: Option<BrowserBinding>,
        return_to: String,
    ) -> Result<StartedLogin, StartLoginError> {
        let found = self.parts.stores.accounts.find(account).await.map_err(StartLoginError::Store)?;
        let found = found.ok_or(StartLoginError::UnknownAccount)?;
        self.start(StartLogin {
            // By DID: the handle may be what changed.
            identifier: LoginIdentifier::Did(found.did),
            prompt: None,
            purpose: LoginPurpose::Repair { account, device },
            return_to,
            ending: LoginEnding::Browser,
            browser,
            state: None,
        })
        .await
    }
}
