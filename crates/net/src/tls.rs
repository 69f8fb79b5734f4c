//! TLS: ring, the public certificate authorities, h2 and HTTP/1.1.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::{NetConfig, NetError};

/// Makes the connector of all TLS connections.
pub(crate) fn connector(config: &NetConfig) -> Result<TlsConnector, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(NetError::Tls)?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data could be replayed by whoever records it.
    client.enable_early_data = false;
    Ok(TlsConnector::from(Arc::new(client)))
}

fn roots(config: &NetConfig) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if config.trust_system_roots {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!(%error, "a certificate authority of the system is not readable");
        }
        roots.add_parsable_certificates(system.certs);
    }
    for certificate in &config.extra_roots {
        roots.add(certificate.clone()).map_err(NetError::ExtraRoot)?;
    }
    Ok(roots)
}
