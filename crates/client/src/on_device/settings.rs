//! How an app presents itself to the servers of its people, and where it asks for their handles.

use bowerbird_core::Handle;
use bowerbird_oauth::{ClientDescription, ClientId, ClientMetadata, ScopeSet, TransportPolicy};
use url::{Host, Url};

use crate::error::KitError;
use crate::handoff::Redirect;

/// The directory of every did:plc.
const PLC_DIRECTORY: &str = "https://plc.directory";

/// The app as a public OAuth client of its own.
#[derive(Clone, Debug)]
pub struct OnDevice {
    pub(crate) client_id: ClientId,
    pub(crate) redirect: Redirect,
    pub(crate) scope: ScopeSet,
    pub(crate) transport: TransportPolicy,
    pub(crate) plc_directory: Url,
    pub(crate) handle_resolver: Option<Url>,
    pub(crate) dns_over_https: Option<Url>,
}

impl OnDevice {
    /// The https address of the app's client metadata, where sign-ins come back to, and what is asked for.
    ///
    /// The redirect is the host of the metadata backwards with one slash, such as `com.example.app:/callback` for
    /// `https://app.example.com/client.json`, or an https link at that very host. [`Self::client_metadata`] writes what must be
    /// served at the address.
    pub fn new(client_id: &str, redirect: &str, scope: &str) -> Result<Self, KitError> {
        let client_id = ClientId::parse(client_id).map_err(|fault| KitError::Mistake(fault.to_string()))?;
        if client_id.is_loopback() {
            return Err(KitError::mistake("the client id is for development; use OnDevice::for_development"));
        }
        let redirect = Redirect::parse(redirect)
            .ok_or_else(|| KitError::mistake("the redirect is no app scheme or https link"))?;
        Self::checked(client_id, redirect, requested(scope)?)
    }

    /// A client for development, which needs no address of its own: the browser comes back to this device, such as to
    /// `http://127.0.0.1:5000/callback`, and no server shows the app's name.
    pub fn for_development(redirect: &str, scope: &str) -> Result<Self, KitError> {
        let scope = requested(scope)?;
        let at = Redirect::parse_loopback(redirect)
            .ok_or_else(|| KitError::mistake("the redirect must be http://127.0.0.1 or http://[::1], with a port"))?;
        let metadata = ClientMetadata::loopback(vec![redirect.to_owned()], &scope);
        let metadata = metadata.map_err(|fault| KitError::Mistake(fault.to_string()))?;
        let client_id = ClientId::parse(&metadata.client_id).map_err(|fault| KitError::Mistake(fault.to_string()))?;
        Self::checked(client_id, at, scope)
    }

    fn checked(client_id: ClientId, redirect: Redirect, scope: ScopeSet) -> Result<Self, KitError> {
        let plc_directory = https(PLC_DIRECTORY)?;
        let transport = TransportPolicy::https_only();
        let (handle_resolver, dns_over_https) = (None, None);
        let made = Self { client_id, redirect, scope, transport, plc_directory, handle_resolver, dns_over_https };
        made.metadata(ClientDescription::default())?;
        Ok(made)
    }

    /// Asks this server for handles first (`com.atproto.identity.resolveHandle`), such as a PDS. It learns which
    /// handles are typed; what it says is checked at the account itself.
    pub fn with_handle_resolver(self, server: &str) -> Result<Self, KitError> {
        Ok(Self { handle_resolver: Some(self.server(server)?), ..self })
    }

    /// Asks this resolver for the DNS records of handles (RFC 8484), such as `https://dns.example/dns-query`. Without one, only
    /// handles whose host answers by https are found.
    pub fn with_dns_over_https(self, resolver: &str) -> Result<Self, KitError> {
        Ok(Self { dns_over_https: Some(self.server(resolver)?), ..self })
    }

    /// Another directory of did:plc than the public one.
    pub fn with_plc_directory(self, directory: &str) -> Result<Self, KitError> {
        Ok(Self { plc_directory: self.server(directory)?, ..self })
    }

    /// Lets servers on this very device be spoken to by plain http, each as `localhost:PORT`: for development. Before the other
    /// addresses, if they are among them.
    pub fn with_local_servers(self, host_ports: &[&str]) -> Result<Self, KitError> {
        let here = |host_port: &&str| {
            let (host, port) = host_port.rsplit_once(':')?;
            let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]") && port.parse::<u16>().is_ok();
            local.then(|| (*host_port).to_owned())
        };
        let listed: Option<Vec<String>> = host_ports.iter().map(here).collect();
        let listed = listed.ok_or_else(|| KitError::mistake("a local server is written as localhost:PORT"))?;
        Ok(Self { transport: TransportPolicy::with_plain_http(listed), ..self })
    }

    /// What must be served at the client id, as `application/json`, with the name that people see when they are asked.
    pub fn client_metadata(&self, name: &str) -> Result<String, KitError> {
        let metadata = self.metadata(ClientDescription { client_name: Some(name.to_owned()), ..Default::default() })?;
        serde_json::to_string(&metadata).map_err(|fault| KitError::Mistake(fault.to_string()))
    }

    /// The scheme by which a system browser knows the way back.
    pub fn callback_scheme(&self) -> &str {
        self.redirect.scheme()
    }

    fn metadata(&self, description: ClientDescription) -> Result<ClientMetadata, KitError> {
        let redirects = vec![self.redirect.as_str().to_owned()];
        ClientMetadata::native(&self.client_id, redirects, &self.scope, description)
            .map_err(|fault| KitError::Mistake(fault.to_string()))
    }

    fn server(&self, address: &str) -> Result<Url, KitError> {
        let url = Url::parse(address).ok().filter(|url| self.reaches(url));
        url.ok_or_else(|| KitError::Mistake(format!("{address} is no https address that an app may speak to")))
    }

    /// Whether a request may go there. Strangers write these addresses: into a handle, a DID document, a metadata document. So it
    /// is https at a name that the whole world knows, never an address or a name of the network that the device is in. The name
    /// is proven by the certificate, so that a name that leads into that network finds nobody who can answer for it.
    pub(crate) fn reaches(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        let public = match url.host() {
            Some(Host::Domain(name)) => Handle::parse(name).is_ok(),
            _ => false,
        };
        bare && self.transport.allows(url) && (public || url.scheme() == "http")
    }
}

fn requested(scope: &str) -> Result<ScopeSet, KitError> {
    ScopeSet::parse_requested(scope).map_err(|fault| KitError::Mistake(fault.to_string()))
}

fn https(address: &str) -> Result<Url, KitError> {
    Url::parse(address).map_err(|fault| KitError::Mistake(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "https://app.example.com/client.json";

    #[test]
    fn the_redirect_belongs_to_the_client_id() {
        for good in ["com.example.app:/callback", "https://app.example.com/callback"] {
            assert!(OnDevice::new(ID, good, "atproto").is_ok(), "{good}");
        }
        for bad in [
            "com.example.app://callback",
            "com.example.other:/callback",
            "app:/callback",
            "https://other.example.com/callback",
            "http://127.0.0.1/callback",
            "javascript:alert(1)",
        ] {
            assert!(OnDevice::new(ID, bad, "atproto").is_err(), "{bad}");
        }
        assert!(OnDevice::new(ID, "com.example.app:/callback", "transition:generic").is_err(), "atproto is missing");
        assert!(OnDevice::new("http://localhost", "com.example.app:/callback", "atproto").is_err());
    }

    #[test]
    fn development_comes_back_to_this_device() {
        let made = OnDevice::for_development("http://127.0.0.1:5000/callback", "atproto transition:generic").unwrap();
        assert!(made.client_id.is_loopback());
        for bad in ["http://localhost:5000/callback", "http://192.0.2.1/callback", "https://127.0.0.1/callback"] {
            assert!(OnDevice::for_development(bad, "atproto").is_err(), "{bad}");
        }
        assert!(made.clone().with_local_servers(&["localhost:2583", "127.0.0.1:2582"]).is_ok());
        for bad in ["pds.example:80", "localhost", "10.0.0.1:80"] {
            assert!(made.clone().with_local_servers(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_metadata_is_that_of_a_public_native_client() {
        let made = OnDevice::new(ID, "com.example.app:/callback", "atproto transition:generic").unwrap();
        let read: serde_json::Value = serde_json::from_str(&made.client_metadata("Example").unwrap()).unwrap();
        assert_eq!((&read["client_id"], &read["client_name"]), (&ID.into(), &"Example".into()));
        assert_eq!(
            (&read["application_type"], &read["token_endpoint_auth_method"]),
            (&"native".into(), &"none".into())
        );
        assert_eq!(read["redirect_uris"][0], "com.example.app:/callback");
        assert_eq!(read["dpop_bound_access_tokens"], true);
    }

    #[test]
    fn only_public_names_by_https() {
        let made = OnDevice::new(ID, "com.example.app:/callback", "atproto").unwrap();
        let reaches = |address: &str| made.reaches(&Url::parse(address).unwrap());
        assert!(reaches("https://pds.example.com") && reaches("https://pds.example.com:8443/x"));
        for bad in [
            "http://pds.example.com",
            "https://192.168.0.1",
            "https://[::1]",
            "https://router",
            "https://printer.local",
            "https://localhost",
            "https://me@pds.example.com",
        ] {
            assert!(!reaches(bad), "{bad}");
        }
        assert!(made.with_handle_resolver("http://pds.example.com").is_err());
    }
}
