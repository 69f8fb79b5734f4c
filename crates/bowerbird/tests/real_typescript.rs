//! The TypeScript client against the real server and a real PDS: in Node as an app, and in Chromium as a page. What it
//! does is in `clients/typescript/test/e2e`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;

use bowerbird_testkit::real::{NetworkOptions, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};

#[tokio::test]
async fn real_typescript_client_in_an_app() {
    if !RealNetwork::available() || !RealNetwork::typescript_available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let options =
        options.env("BOWERBIRD_MOBILE_SCHEME", "myapp://auth-callback").env("BOWERBIRD_MOBILE_HANDOFF", "code");
    let server = BowerbirdProcess::start(options.env("BOWERBIRD_APP_PASSWORDS", "true")).await;
    network.run_typescript("app", &server, &[]).await;
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

#[tokio::test]
async fn real_typescript_client_in_chromium() {
    if !RealNetwork::available() || !RealNetwork::typescript_available() || !RealNetwork::chromium_available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    // The app and the server share one origin, by a front server; another origin is on the list.
    let [front, listed] = free_ports();
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let options = options.public_url(&format!("http://127.0.0.1:{front}"));
    let options = options.env("BOWERBIRD_CORS_ORIGINS", &format!("http://127.0.0.1:{listed}"));
    let server = BowerbirdProcess::start(options).await;
    let behind = format!("http://{}", server.address());
    network.run_typescript("browser", &server, &[("BEHIND", &behind), ("LISTED_PORT", &listed.to_string())]).await;
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

/// Ports that were free a moment ago: the server must know them at its start.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners: [TcpListener; COUNT] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
