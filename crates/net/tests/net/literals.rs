//! Row 39: private addresses in every spelling that some reader of URLs accepts.

use bowerbird_core::ports::{HttpFault, Purpose, Sent};
use http::Uri;

use crate::support::dns::{FaultDns, of_kind};
use crate::support::server::Server;
use crate::support::{Setup, refused};

const HOSTS: [&str; 72] = [
    // Short, hexadecimal, octal, decimal, mixed.
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "0x7f.0.0.01",
    "00000177.0.0.1",
    "127.0x1",
    "127.0.0x0.1",
    "0x7F.00.0x0.1",
    "127.65535",
    "127.16777215",
    "0",
    "0x0",
    "00",
    "0.0",
    "0.0.0.0",
    "127.0.0.1",
    "127.255.255.254",
    "127.000.000.001",
    // Beyond 32 bits some readers wrap around.
    "4294967296",
    "0x17f000001",
    "127.0.0.256",
    "1.2.3.4.5",
    "256.256.256.256",
    // Other private networks.
    "10.1",
    "0xa000001",
    "167772161",
    "192.168.257",
    "0xc0a80001",
    "3232235521",
    "172.16.1",
    "0xac100001",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "0251.254.169.254",
    "100.64.1",
    "198.18.1",
    "224.1",
    "255.255.255.255",
    "0xffffffff",
    "4294967295",
    // Dots at the end.
    "127.0.0.1.",
    "127.1.",
    "0x7f.1.",
    "2130706433.",
    "localhost.",
    "169.254.169.254.",
    // Other digits and dots that IDNA maps.
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "①②⑦.⓪.⓪.①",
    "０x7f.1",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "loc\u{00AD}alhost",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    // Percent signs, IPv6 forms.
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
];

/// Each host as the text stands, and as a WHATWG reader above us would rewrite it first.
fn spellings(host: &str, port: u16) -> Vec<Uri> {
    let text = format!("https://{host}:{port}/");
    let rewritten = url::Url::parse(&text).ok().and_then(|url| url.as_str().parse().ok());
    text.parse().ok().into_iter().chain(rewritten).collect()
}

#[tokio::test]
async fn row_39_literals_in_any_spelling_are_refused() {
    let canary = Server::canary().await;
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1", "::1"])).await;
    let client = Setup::new().dns(dns.address).client();
    let mut tried = 0;
    for host in HOSTS {
        for uri in spellings(host, canary.address.port()) {
            for url in [uri.to_string(), uri.to_string().replacen("https:", "http:", 1)] {
                let error = refused(&client, &url, Purpose::Document).await;
                assert!(
                    matches!(error.fault, HttpFault::AddressNotAllowed | HttpFault::UrlNotAllowed),
                    "{url}: {error:?}"
                );
                assert_eq!(error.sent, Sent::No, "{url}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 200, "only {tried} spellings were tried");
    assert_eq!(canary.connections(), 0, "somebody was reached");
    assert_eq!(dns.questions(), 0, "literals were looked up");
}
