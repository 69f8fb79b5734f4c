//! Rows 38, 40 and 46: names that lead to private addresses, and hosts that hide something.

use bowerbird_core::ports::{HttpFault, Purpose, Sent};

use crate::support::dns::{FaultDns, of_kind};
use crate::support::server::Server;
use crate::support::{PURPOSES, Setup, refused};

/// One address of every special IPv4 block, its ends and its middle.
const PRIVATE_V4: [&str; 34] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.254",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.254",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.17.0.1",
    "172.31.255.254",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.254",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "224.0.0.251",
    "233.252.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "250.1.2.3",
    "255.255.255.254",
    "255.255.255.255",
];

const PRIVATE_V6: [&str; 27] = [
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
];

/// Names of the form `n<index>.evil.example` for a list of addresses.
async fn dns_for(addresses: &'static [&'static str]) -> FaultDns {
    FaultDns::start(move |question| {
        let index: usize = question.name.trim_start_matches('n').split('.').next().unwrap().parse().unwrap();
        of_kind(question, &addresses[index..=index])
    })
    .await
}

async fn none_is_reached(addresses: &'static [&'static str]) {
    let canary = Server::canary().await;
    let dns = dns_for(addresses).await;
    let client = Setup::new().dns(dns.address).client();
    for (index, address) in addresses.iter().enumerate() {
        let url = format!("https://n{index}.evil.example:{}/", canary.address.port());
        let error = refused(&client, &url, PURPOSES[index % PURPOSES.len()]).await;
        assert_eq!((error.fault, error.sent), (HttpFault::AddressNotAllowed, Sent::No), "{address}");
    }
    assert_eq!(canary.connections(), 0);
    assert!(dns.questions() >= addresses.len(), "the names were looked up");
}

#[tokio::test]
async fn row_38_private_addresses_are_refused() {
    none_is_reached(&PRIVATE_V4).await;
}

#[tokio::test]
async fn row_40_private_ipv6_addresses_are_refused() {
    none_is_reached(&PRIVATE_V6).await;
}

#[tokio::test]
async fn row_40_private_ipv6_literals_are_refused_without_a_lookup() {
    let canary = Server::canary().await;
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1"])).await;
    let client = Setup::new().dns(dns.address).client();
    for address in PRIVATE_V6 {
        let url = format!("https://[{address}]:{}/", canary.address.port());
        assert_eq!(refused(&client, &url, Purpose::Document).await.fault, HttpFault::AddressNotAllowed, "{address}");
    }
    assert_eq!((canary.connections(), dns.questions()), (0, 0));
}

#[tokio::test]
async fn an_exempt_name_may_be_private_and_its_neighbours_may_not() {
    let server = Server::fixed(crate::support::server::OK).await;
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1"])).await;
    let port = server.address.port();
    let client = Setup::new().dns(dns.address).allow_name(&format!("pds.corp.example:{port}")).client();
    let answer = crate::support::fetched(&client, &format!("http://pds.corp.example:{port}/"), Purpose::Document).await;
    assert_eq!(answer.body(), "ok");
    let asked = server.requests();
    for url in [
        format!("ws://pds.corp.example:{port}/"),
        format!("ftp://pds.corp.example:{port}/"),
        format!("http://pds.corp.example:{}/", port - 1),
        format!("https://other.corp.example:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://x.pds.corp.example:{port}/"),
    ] {
        let error = refused(&client, &url, Purpose::Document).await;
        assert!(matches!(error.fault, HttpFault::AddressNotAllowed | HttpFault::UrlNotAllowed), "{url}");
    }
    assert_eq!((server.requests(), server.connections()), (asked, 1));
}

#[tokio::test]
async fn localhost_needs_no_dns_when_it_is_exempt() {
    let server = Server::fixed(crate::support::server::OK).await;
    let port = server.address.port();
    let client = Setup::new().allow_name(&format!("localhost:{port}")).client();
    crate::support::fetched(&client, &format!("http://localhost:{port}/"), Purpose::Document).await;
    assert_eq!(server.requests(), 1);
}

/// The hosts that a careless reading of `did:web:…` turns into URLs.
#[tokio::test]
async fn row_46_did_web_hosts_that_hide_a_port_path_or_user_are_refused() {
    let canary = Server::canary().await;
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1"])).await;
    let client = Setup::new().dns(dns.address).client();
    let port = canary.address.port();
    for host in [
        format!("localhost%3A{port}"),
        format!("localhost:{port}"),
        format!("127.0.0.1%3A{port}"),
        format!("example.com%2F@127.0.0.1:{port}"),
        format!("user@localhost:{port}"),
        format!("user:pw@evil.example:{port}"),
        format!("example.com%40127.0.0.1:{port}"),
        format!("evil.example%00.example.com:{port}"),
        format!("evil.example%2e:{port}"),
        format!("localhost%2e:{port}"),
        format!("%6c%6f%63alhost:{port}"),
        format!("%31%32%37.0.0.1:{port}"),
        format!("evil.example:{port}:{port}"),
        "evil.example:%38%30".to_owned(),
        format!("evil.example\\@127.0.0.1:{port}"),
        "evil.example:".to_owned() + "99999999",
        "..".to_owned(),
        String::new(),
    ] {
        for path in ["/.well-known/did.json", "/a/b/did.json"] {
            let Ok(uri) = format!("https://{host}{path}").parse::<http::Uri>() else { continue };
            let error = refused(&client, &uri.to_string(), Purpose::Document).await;
            assert!(
                matches!(error.fault, HttpFault::UrlNotAllowed | HttpFault::AddressNotAllowed),
                "{host}: {error:?}"
            );
            assert_eq!(error.sent, Sent::No);
        }
    }
    assert_eq!(canary.connections(), 0);
}
