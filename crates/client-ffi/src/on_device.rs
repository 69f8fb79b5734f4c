//! Sign-in at people's own servers: how the app presents itself there.

use bowerbird_client as kit;

use crate::error::ClientError;

/// The app as a public OAuth client of its own.
#[derive(Clone, uniffi::Record)]
pub struct OnDevice {
    /// The https address of the app's client metadata; None for development, where the redirect is on this device.
    #[uniffi(default)]
    pub client_id: Option<String>,
    /// Where sign-ins come back to: the host of the client id backwards, such as `com.example.app:/callback`, or an https link at
    /// that host; in development such as `http://127.0.0.1:5000/callback`.
    pub redirect: String,
    /// What is asked for, such as `atproto transition:generic`.
    pub scope: String,
    /// A server that is asked for handles first. It learns which handles are typed.
    #[uniffi(default)]
    pub handle_resolver: Option<String>,
    /// A DNS resolver by https (RFC 8484). Without one, only handles whose host answers by https are found.
    #[uniffi(default)]
    pub dns_over_https: Option<String>,
    /// Another directory of did:plc than the public one.
    #[uniffi(default)]
    pub plc_directory: Option<String>,
    /// Servers on this device that may be spoken to by plain http, each as `localhost:PORT`: for development.
    #[uniffi(default)]
    pub local_servers: Vec<String>,
}

impl OnDevice {
    pub(crate) fn read(&self) -> Result<kit::OnDevice, ClientError> {
        let mut app = match &self.client_id {
            Some(client_id) => kit::OnDevice::new(client_id, &self.redirect, &self.scope)?,
            None => kit::OnDevice::for_development(&self.redirect, &self.scope)?,
        };
        if !self.local_servers.is_empty() {
            let listed: Vec<&str> = self.local_servers.iter().map(String::as_str).collect();
            app = app.with_local_servers(&listed)?;
        }
        if let Some(directory) = &self.plc_directory {
            app = app.with_plc_directory(directory)?;
        }
        if let Some(server) = &self.handle_resolver {
            app = app.with_handle_resolver(server)?;
        }
        if let Some(resolver) = &self.dns_over_https {
            app = app.with_dns_over_https(resolver)?;
        }
        Ok(app)
    }
}

/// Who keeps an account's tokens.
#[derive(Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum AccountKind {
    /// The Bowerbird server; the device has a seal.
    Server,
    /// This device, as an OAuth client of its own.
    OnDevice,
}

impl From<kit::AccountKind> for AccountKind {
    fn from(kind: kit::AccountKind) -> Self {
        match kind {
            kit::AccountKind::Server => Self::Server,
            kit::AccountKind::OnDevice => Self::OnDevice,
        }
    }
}

/// What must be served at the client id, as `application/json`, with the name that people see when they are asked.
#[uniffi::export]
pub fn client_metadata(app: OnDevice, name: String) -> Result<String, ClientError> {
    Ok(app.read()?.client_metadata(&name)?)
}
