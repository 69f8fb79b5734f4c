//! A certificate authority of our own, and https servers with certificates of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_net::CertificateDer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of these tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Starts an https server with a certificate for the names, which answers with its protocol and counts.
    pub(crate) async fn serve(&self, names: &[&str], protocols: &[&str]) -> TlsServer {
        self.serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), names, protocols).await
    }

    pub(crate) async fn serve_at(&self, address: SocketAddr, names: &[&str], protocols: &[&str]) -> TlsServer {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind(address).await.unwrap();
        let server = TlsServer { address: listener.local_addr().unwrap(), seen: Arc::default() };
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&server.seen)));
        server
    }
}

pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    server_names: Mutex<Vec<String>>,
}

impl TlsServer {
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// The names that clients asked for in their handshakes (SNI).
    pub(crate) fn server_names(&self) -> Vec<String> {
        self.seen.server_names.lock().clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let connection = stream.get_ref().1;
            seen.server_names.lock().extend(connection.server_name().map(str::to_owned));
            let is_http2 = connection.alpn_protocol() == Some(b"h2");
            let leaving = Arc::new(Notify::new());
            let told = Arc::clone(&leaving);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                seen.requests.fetch_add(1, Ordering::SeqCst);
                let authority = request.uri().authority().map(ToString::to_string);
                let host = request.headers().get("host").map(|value| value.to_str().unwrap().to_owned());
                let text = format!("{:?} {} {}", request.version(), authority.or(host).unwrap(), request.uri().path());
                let mut answer = http::Response::new(Full::new(Bytes::from(text)));
                let (fields, length) = match request.uri().path() {
                    "/many" => (150, 1),
                    "/long" => (1, 70_000),
                    _ => (0, 0),
                };
                if request.uri().path() == "/bye" {
                    told.notify_one();
                }
                for _ in 0..fields {
                    answer.headers_mut().append("x", "y".repeat(length).parse().unwrap());
                }
                async move { Ok::<_, Infallible>(answer) }
            });
            let io = TokioIo::new(stream);
            if is_http2 {
                // Long enough to answer, then the connection is gone.
                let gone = async {
                    leaving.notified().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                };
                let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
                tokio::select! {
                    () = gone => {}
                    result = serving => drop(result),
                }
            } else {
                drop(http1::Builder::new().serve_connection(io, service).await);
            }
        });
    }
}
