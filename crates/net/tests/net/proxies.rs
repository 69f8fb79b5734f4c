//! Row 48: proxies named by the environment.

use bowerbird_core::ports::{HttpFault, Purpose};

use crate::support::dns::{FaultDns, of_kind};
use crate::support::process::run_alone;
use crate::support::server::{OK, Server};
use crate::support::{Setup, fetched, refused};

const VARIABLES: [&str; 8] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SOCKS_PROXY", "socks_proxy"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_48_proxies_of_the_environment_are_ignored() {
    let canary = Server::canary().await;
    let proxy = format!("http://{}", canary.address);
    let mut environment: Vec<(&str, &str)> = VARIABLES.iter().map(|&name| (name, proxy.as_str())).collect();
    environment.push(("NO_PROXY", ""));
    tokio::task::block_in_place(|| run_alone("proxies::alone_with_a_proxy_in_the_environment", &environment));
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the environment is what this test is about")]
#[ignore = "run by row_48 in a process with a proxy in its environment"]
async fn alone_with_a_proxy_in_the_environment() {
    assert!(std::env::vars().any(|(name, _)| name == "HTTPS_PROXY"));
    let server = Server::fixed(OK).await;
    let dns = FaultDns::start(|question| of_kind(question, &["10.0.0.1"])).await;
    let client = Setup::new().dns(dns.address).allow(server.address).client();
    fetched(&client, &server.url("/"), Purpose::Document).await;
    assert_eq!(server.requests(), 1);
    let error = refused(&client, "https://private.example/", Purpose::Document).await;
    assert_eq!(error.fault, HttpFault::AddressNotAllowed);
}
