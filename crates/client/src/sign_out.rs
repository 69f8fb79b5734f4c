//! Ending a session at the server.

use http::{Method, StatusCode};

use crate::error::KitError;
use crate::kit::Kit;
use crate::manager::Removal;
use crate::session::Session;
use crate::wire;

/// What a removed account had here.
pub(crate) struct Gone {
    pub(crate) session: Option<Session>,
    #[cfg(feature = "on-device")]
    pub(crate) grant: Option<crate::on_device::grant::Grant>,
}

impl Kit {
    /// Tells whoever gave it that an account was removed here.
    pub(crate) fn tell_of(&self, gone: &Gone) -> Removal {
        let session = gone.session.as_ref().map(|session| self.sign_out(session));
        #[cfg(feature = "on-device")]
        if let Some(grant) = &gone.grant {
            let revoked = self.revoke_grant(grant) && session != Some(Removal::OnThisDevice);
            return if revoked { Removal::Everywhere } else { Removal::OnThisDevice };
        }
        session.unwrap_or(Removal::OnThisDevice)
    }

    /// Ends a session at the server, with one try, whose outcome is only told.
    pub(crate) fn sign_out(&self, session: &Session) -> Removal {
        match self.sign_out_once(session) {
            Ok(removal) => removal,
            Err(error) => {
                tracing::info!(%error, "the server could not be told of the sign-out");
                Removal::OnThisDevice
            }
        }
    }

    fn sign_out_once(&self, session: &Session) -> Result<Removal, KitError> {
        let status = self.log_out_with(session)?;
        if status != StatusCode::UNAUTHORIZED {
            return Ok(if status.is_success() { Removal::Everywhere } else { Removal::OnThisDevice });
        }
        // The seal has ended; what renews it lives as long as the session, so there is a session until that is refused too.
        if session.refresh_token.is_none() {
            return Ok(Removal::Everywhere);
        }
        let answer = self.ports.transport.send(wire::renew(self.origin()?, session)?).map_err(KitError::Offline)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Ok(Removal::Everywhere);
        }
        if !answer.status().is_success() {
            return Ok(Removal::OnThisDevice);
        }
        let renewed = wire::read_renewed(&answer, session, self.ports.clock.now())?;
        let status = self.log_out_with(&renewed)?;
        Ok(if status.is_success() { Removal::Everywhere } else { Removal::OnThisDevice })
    }

    fn log_out_with(&self, session: &Session) -> Result<StatusCode, KitError> {
        let mut request = wire::request(Method::POST, self.origin()?, "/api/auth/logout", None)?;
        wire::bearer(request.headers_mut(), &session.access_token)?;
        Ok(self.ports.transport.send(request).map_err(KitError::Offline)?.status())
    }
}
