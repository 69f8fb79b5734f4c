//! Certificates, names and protocols.

use bowerbird_core::ports::{HttpClient, HttpFault, Purpose, Sent};
use futures_util::future::join_all;

use crate::support::authority::Authority;
use crate::support::dns::{FaultDns, of_kind};
use crate::support::{Setup, fetched, post, refused};

/// A client that trusts the authority, and finds every `*.example` name on this machine.
async fn setup(authority: &Authority, port: u16, names: &[&str]) -> (Setup, FaultDns) {
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1"])).await;
    let mut setup = Setup::new().dns(dns.address);
    setup.config.extra_roots = vec![authority.certificate()];
    for name in names {
        setup = setup.allow_name(&format!("{name}:{port}"));
    }
    (setup, dns)
}

#[tokio::test]
async fn both_protocols_work_and_the_name_is_asked_for() {
    let authority = Authority::new();
    for (protocols, version) in [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
    {
        let server = authority.serve(&["pds.example"], protocols).await;
        let port = server.address.port();
        let (setup, _dns) = setup(&authority, port, &["pds.example"]).await;
        let client = setup.client();
        for _ in 0..3 {
            let answer = fetched(&client, &format!("https://PDS.example:{port}/a?b"), Purpose::Document).await;
            assert_eq!(answer.body(), &format!("{version} pds.example:{port} /a"));
        }
        assert_eq!((server.connections(), server.requests()), (1, 3));
        assert_eq!(server.server_names(), ["pds.example"]);
        client.send(post(&format!("https://pds.example:{port}/token"), "refresh"), Purpose::Refresh).await.unwrap();
        assert_eq!(server.connections(), 2, "a refresh has a connection of its own");
    }
}

#[tokio::test]
async fn http2_takes_many_calls_on_one_connection() {
    let authority = Authority::new();
    let server = authority.serve(&["pds.example"], &["h2"]).await;
    let port = server.address.port();
    let (setup, _dns) = setup(&authority, port, &["pds.example"]).await;
    let client = setup.client();
    let url = format!("https://pds.example:{port}/");
    fetched(&client, &url, Purpose::Api).await;
    join_all((0..50).map(|_| fetched(&client, &url, Purpose::Api))).await;
    assert_eq!((server.connections(), server.requests()), (1, 51));
}

#[tokio::test]
async fn a_closed_http2_connection_is_replaced() {
    let authority = Authority::new();
    let server = authority.serve(&["pds.example"], &["h2"]).await;
    let port = server.address.port();
    let (setup, _dns) = setup(&authority, port, &["pds.example"]).await;
    let client = setup.client();
    for connections in 1..=3 {
        client.send(post(&format!("https://pds.example:{port}/bye"), "x"), Purpose::Api).await.unwrap();
        assert_eq!((server.connections(), server.requests()), (connections, connections));
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    }
}

#[tokio::test]
async fn row_43_heads_are_capped_in_http2_too() {
    let authority = Authority::new();
    let server = authority.serve(&["pds.example"], &["h2"]).await;
    let port = server.address.port();
    let (setup, _dns) = setup(&authority, port, &["pds.example"]).await;
    let client = setup.client();
    let error = refused(&client, &format!("https://pds.example:{port}/many"), Purpose::Api).await;
    assert_eq!((error.fault, error.sent), (HttpFault::TooLarge, Sent::Perhaps));
    let error = refused(&client, &format!("https://pds.example:{port}/long"), Purpose::Api).await;
    assert!(matches!(error.fault, HttpFault::TooLarge | HttpFault::Broken), "{error:?}");
    fetched(&client, &format!("https://pds.example:{port}/"), Purpose::Api).await;
}

#[test]
fn the_system_s_settings_make_a_client() {
    let clock = std::sync::Arc::new(bowerbird_net::SystemClock::new());
    let watch = crate::support::start_watch();
    bowerbird_net::NetClient::new(bowerbird_net::NetConfig::default(), clock).unwrap();
    println!("a client with the system's authorities and DNS servers takes {:?}", watch.elapsed());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let server = authority.serve(&["good.example", "*.wild.example"], &["h2", "http/1.1"]).await;
    let port = server.address.port();
    let names = ["good.example", "evil.example", "a.wild.example", "a.b.wild.example", "127.0.0.1"];
    let (setup, _dns) = setup(&authority, port, &names).await;
    let client = setup.client();
    fetched(&client, &format!("https://good.example:{port}/"), Purpose::Document).await;
    fetched(&client, &format!("https://a.wild.example:{port}/"), Purpose::Document).await;
    for host in ["evil.example", "a.b.wild.example", "127.0.0.1"] {
        for purpose in [Purpose::Document, Purpose::Refresh] {
            let error = refused(&client, &format!("https://{host}:{port}/"), purpose).await;
            assert_eq!((error.fault, error.sent), (HttpFault::Connect, Sent::No), "{host}");
        }
    }
    assert_eq!(server.requests(), 2);
    assert_eq!(server.server_names(), ["good.example", "a.wild.example"]);
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let server = Authority::new().serve(&["pds.example"], &["http/1.1"]).await;
    let port = server.address.port();
    let (setup, _dns) = setup(&Authority::new(), port, &["pds.example"]).await;
    let error = refused(&setup.client(), &format!("https://pds.example:{port}/"), Purpose::Document).await;
    assert_eq!((error.fault, error.sent), (HttpFault::Connect, Sent::No));
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_certificate_for_an_address_serves_that_address() {
    let authority = Authority::new();
    let server = authority.serve(&["127.0.0.1"], &["http/1.1"]).await;
    let port = server.address.port();
    let (setup, _dns) = setup(&authority, port, &["127.0.0.1"]).await;
    fetched(&setup.client(), &format!("https://127.0.0.1:{port}/"), Purpose::Document).await;
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_broken_extra_root_is_named() {
    let mut setup = Setup::new();
    setup.config.extra_roots = vec![bowerbird_net::CertificateDer::from(vec![1, 2, 3])];
    let clock = std::sync::Arc::new(bowerbird_net::SystemClock::new());
    let error = bowerbird_net::NetClient::new(setup.config, clock).map(drop).unwrap_err();
    assert!(error.to_string().contains("extra certificate authority"), "{error}");
}
