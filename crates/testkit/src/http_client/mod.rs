//! An HTTP client for tests: one connection for each request, no redirects followed, nothing added but what is needed.

mod cookies;
mod raw;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

pub use cookies::{CookieJar, StoredCookie};
pub use raw::{RawAnswer, send_raw};

/// How long a request may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sends requests to loopback addresses.
#[derive(Clone, Debug, Default)]
pub struct TestClient {
    hosts: Vec<(String, SocketAddr)>,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Headers, duplicates allowed. `Host` is added unless given.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl TestRequest {
    /// A request without body.
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST of JSON.
    pub fn post_json(url: &str, body: &Value) -> Self {
        Self::new("POST", url).header("content-type", "application/json").body(body.to_string())
    }

    /// A POST of a form.
    pub fn post_form(url: &str, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::new("POST", url).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Answer {
    /// The first header of a name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every header of a name (lower case).
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The `Location`; panics without one.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location in {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Itself, after checking the status.
    #[track_caller]
    #[must_use]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl TestClient {
    /// A client that knows `localhost` and literal loopback addresses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects to this address for a host name (with port if the URL has one), as `curl --resolve` does. The `https`
    /// scheme is spoken as plain http to it.
    #[must_use]
    pub fn with_host(mut self, host: &str, address: SocketAddr) -> Self {
        self.hosts.push((host.to_owned(), address));
        self
    }

    /// GETs a URL; panics without an answer.
    pub async fn get(&self, url: &str) -> Answer {
        self.send(TestRequest::get(url)).await
    }

    /// Sends a request; panics without an answer.
    pub async fn send(&self, request: TestRequest) -> Answer {
        let url = request.url.clone();
        self.try_send(request).await.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Sends a request.
    pub async fn try_send(&self, request: TestRequest) -> io::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn exchange(&self, request: TestRequest) -> io::Result<Answer> {
        let url = Url::parse(&request.url).map_err(io::Error::other)?;
        let authority = url.port().map_or_else(
            || url.host_str().unwrap_or_default().to_owned(),
            |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
        );
        #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
        let stream = TcpStream::connect(self.address(&url, &authority)?).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(connection);
        let mut builder = http::Request::builder()
            .method(request.method.as_str())
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery]);
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            builder = builder.header("host", &authority);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(Full::new(request.body)).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        driver.abort();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: head.status.as_u16(), headers, body })
    }

    fn address(&self, url: &Url, authority: &str) -> io::Result<SocketAddr> {
        if let Some((_, address)) = self.hosts.iter().find(|(host, _)| host == authority) {
            return Ok(*address);
        }
        let port = url.port_or_known_default().unwrap_or(80);
        match url.host_str() {
            Some("localhost" | "127.0.0.1") => Ok((Ipv4Addr::LOCALHOST, port).into()),
            other => Err(io::Error::other(format!("{other:?} is not a loopback host; see TestClient::with_host"))),
        }
    }
}
