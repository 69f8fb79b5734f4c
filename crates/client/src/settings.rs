//! What an app configures, and what the kit needs of the device.

use std::sync::Arc;

use bowerbird_core::ports::Entropy;
use bowerbird_oauth::{Origin, TransportPolicy};
use url::Url;

use crate::error::KitError;
use crate::handoff::Redirect;
use crate::keys::Namespace;
use crate::ports::{Device, DeviceClock, Pause};
use crate::store::SecureStore;
use crate::transport::Transport;

/// What an app configures.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its origin, and where its sign-ins come back to.
    pub(crate) server: Option<(Origin, Redirect)>,
    pub(crate) namespace: Namespace,
    pub(crate) live_clients: usize,
    #[cfg(feature = "on-device")]
    pub(crate) on_device: Option<crate::on_device::OnDevice>,
}

impl Settings {
    /// The server's address, the app's address that sign-ins come back to, and the app's name for its secrets.
    ///
    /// The server must be https; plain http is for one on this very device.
    pub fn new(server: &str, redirect: &str, namespace: &str) -> Result<Self, KitError> {
        let origin = Origin::parse(server, &transport_policy(server))
            .map_err(|fault| KitError::Mistake(format!("the server's address: {fault}")))?;
        let redirect = Redirect::parse(redirect)
            .ok_or_else(|| KitError::mistake("the redirect is no app scheme or https link"))?;
        Ok(Self { server: Some((origin, redirect)), ..Self::bare(namespace)? })
    }

    /// Without a Bowerbird server: the app signs people in by itself, with [`Self::with_on_device`].
    #[cfg(feature = "on-device")]
    pub fn without_server(namespace: &str) -> Result<Self, KitError> {
        Self::bare(namespace)
    }

    fn bare(namespace: &str) -> Result<Self, KitError> {
        let namespace = Namespace::parse(namespace).map_err(|fault| KitError::Mistake(fault.to_string()))?;
        Ok(Self {
            server: None,
            namespace,
            live_clients: 1,
            #[cfg(feature = "on-device")]
            on_device: None,
        })
    }

    /// Lets people sign in at their own servers too, with tokens that this device keeps.
    #[cfg(feature = "on-device")]
    #[must_use]
    pub fn with_on_device(self, app: crate::on_device::OnDevice) -> Self {
        Self { on_device: Some(app), ..self }
    }

    /// How many accounts may have their seal in memory at once; one, unless an app shows several at a time.
    #[must_use]
    pub fn with_live_clients(self, live_clients: usize) -> Self {
        Self { live_clients, ..self }
    }

    /// The scheme by which a system browser knows the way back from the server; empty without a server.
    pub fn callback_scheme(&self) -> &str {
        self.server.as_ref().map_or("", |(_, redirect)| redirect.scheme())
    }
}

/// https for everybody; plain http only towards this device itself, for development.
fn transport_policy(server: &str) -> TransportPolicy {
    let loopback = Url::parse(server).ok().and_then(|url| {
        let host = url.host_str().filter(|host| matches!(*host, "127.0.0.1" | "localhost" | "[::1]"))?;
        Some(format!("{host}:{}", url.port_or_known_default()?))
    });
    TransportPolicy::with_plain_http(loopback)
}

/// What the kit needs of the device.
#[derive(Clone)]
pub struct Ports {
    /// Where secrets are kept.
    pub store: Arc<dyn SecureStore>,
    /// The way to the server, and to those of the accounts that sign in on the device.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Arc<dyn DeviceClock>,
    /// Waits between tries.
    pub pause: Arc<dyn Pause>,
    /// Makes ids and verifiers.
    pub entropy: Arc<dyn Entropy>,
}

impl Ports {
    /// The device's own clock, pauses and randomness, with this store and transport.
    pub fn new(store: impl SecureStore + 'static, transport: impl Transport + 'static) -> Self {
        Self {
            store: Arc::new(store),
            transport: Arc::new(transport),
            clock: Arc::new(Device),
            pause: Arc::new(Device),
            entropy: Arc::new(Device),
        }
    }
}
