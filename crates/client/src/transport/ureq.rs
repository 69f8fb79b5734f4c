//! The transport for apps that bring none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error, Timeout};

use super::{Transport, TransportFault};

/// How long a whole exchange may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Whose certificates the server may show.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those of the authorities that Mozilla lists, as of this build.
    #[default]
    PublicAuthorities,
    /// Only those of these authorities, as DER: an own authority, or the one that the app is pinned to.
    Only(Vec<Vec<u8>>),
}

/// HTTP/1.1 by ureq, TLS by rustls with ring. One connection is kept for the next call.
#[derive(Clone, Debug)]
pub struct HttpTransport(Agent);

impl HttpTransport {
    /// A transport with the given trust.
    pub fn new(trust: Trust) -> Self {
        let roots = match trust {
            Trust::PublicAuthorities => RootCerts::WebPki,
            Trust::Only(authorities) => {
                let read = |der: &Vec<u8>| Certificate::from_der(der).to_owned();
                RootCerts::Specific(Arc::new(authorities.iter().map(read).collect()))
            }
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // An app has its own settings for proxies; the environment of a process is none of them.
            .proxy(None)
            .max_idle_connections(2)
            .max_idle_connections_per_host(1)
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(CONNECT_PATIENCE))
            .user_agent(concat!("bowerbird-client/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.new_agent())
    }
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::new(Trust::default())
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        let (head, body) = request.into_parts();
        let answer = if body.is_empty() && head.method == http::Method::GET {
            self.0.run(Request::from_parts(head, ()))
        } else {
            self.0.run(Request::from_parts(head, body.to_vec()))
        };
        let (head, body) = answer.map_err(|error| fault(&error))?.into_parts();
        let body = body.into_with_config().limit(MAX_ANSWER).read_to_vec().map_err(|error| fault(&error))?;
        Ok(Response::from_parts(head, body.into()))
    }
}

fn fault(error: &Error) -> TransportFault {
    let before_sending = matches!(
        error,
        Error::HostNotFound
            | Error::ConnectionFailed
            | Error::BadUri(_)
            | Error::Tls(_)
            | Error::Rustls(_)
            | Error::Timeout(Timeout::Resolve | Timeout::Connect)
    ) || matches!(error, Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
    let detail = error.to_string();
    if before_sending { TransportFault::not_sent(detail) } else { TransportFault::broken(detail) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with the given bytes; gives back what it read.
    fn server(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = vec![0; 4096];
            let count = stream.read(&mut read).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8(read[..count].to_vec()).unwrap()
        });
        (address, served)
    }

    fn get(address: &str) -> Request<Bytes> {
        Request::get(format!("{address}/x")).header("authorization", "Bearer canary").body(Bytes::new()).unwrap()
    }

    #[test]
    fn every_status_is_an_answer_and_no_redirect_is_followed() {
        let (address, served) =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 2\r\n\r\nno");
        let answer = HttpTransport::default().send(get(&address)).unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (302, &b"no"[..]));
        let sent = served.join().unwrap();
        assert!(sent.starts_with("GET /x HTTP/1.1\r\n") && sent.contains("Bearer canary"), "{sent}");
    }

    #[test]
    fn who_was_never_reached_and_who_hung_up_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = HttpTransport::default().send(get(&format!("http://{closed}"))).unwrap_err();
        assert!(!refused.may_have_arrived, "{refused}");
        let (address, served) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf");
        let broken = HttpTransport::default().send(get(&address)).unwrap_err();
        served.join().unwrap();
        assert!(broken.may_have_arrived, "{broken}");
        assert!(!broken.to_string().contains("canary"));
    }
}
