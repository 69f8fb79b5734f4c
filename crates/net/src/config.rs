//! What the composition decides about the network.

use std::net::SocketAddr;

use bowerbird_core::ports::BoxError;
use rustls::pki_types::CertificateDer;

use crate::HostPort;

/// The settings of a [`NetClient`](crate::NetClient).
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Exactly these may be private or plain http.
    pub egress_allow: Vec<HostPort>,
    /// The DNS servers to ask, by UDP and, for long answers, TCP. Empty: those of the system, and its hosts file.
    pub dns_servers: Vec<SocketAddr>,
    /// Certificate authorities to trust besides the public ones, in DER.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Whether the certificate authorities of the system are trusted too.
    pub trust_system_roots: bool,
    /// The `User-Agent` of requests that bring none.
    pub user_agent: String,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            egress_allow: Vec::new(),
            dns_servers: Vec::new(),
            extra_roots: Vec::new(),
            trust_system_roots: true,
            user_agent: concat!("bowerbird/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Switches that only tests may use.
#[cfg(feature = "testing")]
#[derive(Clone, Debug)]
pub struct TestSwitches {
    /// Every deadline is divided by this.
    pub deadline_divisor: u32,
    /// Addresses of the loopback network that are taken for public ones.
    pub public_addresses: Vec<std::net::IpAddr>,
}

#[cfg(feature = "testing")]
impl Default for TestSwitches {
    fn default() -> Self {
        Self { deadline_divisor: 1, public_addresses: Vec::new() }
    }
}

/// Why no client can be made of a [`NetConfig`].
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The DNS client refuses its settings.
    #[error("the DNS client does not start; check the DNS servers of the configuration or of the system")]
    Dns(#[source] BoxError),
    /// A certificate of [`NetConfig::extra_roots`] is not one.
    #[error("an extra certificate authority is not a certificate in DER; check the file it was read from")]
    ExtraRoot(#[source] rustls::Error),
    /// The TLS library refuses its settings.
    #[error("TLS does not start")]
    Tls(#[source] rustls::Error),
    /// [`NetConfig::user_agent`] cannot be sent.
    #[error("the user agent contains characters that a header cannot hold; use visible ASCII")]
    UserAgent(#[source] http::header::InvalidHeaderValue),
}
