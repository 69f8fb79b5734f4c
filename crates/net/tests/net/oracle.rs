//! Row 49: what a prober learns from the way we fail.

use std::time::Duration;

use bowerbird_core::ports::{HttpFault, Purpose};
use hickory_proto::op::ResponseCode;

use crate::support::dns::{FaultDns, Reply, of_kind};
use crate::support::server::{Server, closed_port};
use crate::support::{Setup, refused, start_watch};

#[tokio::test]
async fn row_49_every_failure_reads_the_same() {
    let canary = Server::canary().await;
    let no_http = Server::blurts("\0\0\0").await;
    let hangs_up = Server::start(|mut peer, _| async move { drop(peer.request().await) }).await;
    let slow = Server::mute().await;
    let closed = closed_port().await;
    let dns = FaultDns::start(|question| match question.name.as_str() {
        "open.example." => of_kind(question, &["127.0.0.1"]),
        "broken.example." => Reply::Code(ResponseCode::ServFail),
        _ => Reply::nothing(),
    })
    .await;
    let mut setup = Setup::new().dns(dns.address).faster(50);
    for server in [no_http.address, hangs_up.address, slow.address, closed] {
        setup = setup.allow(server);
    }
    let client = setup.client();
    let mut seen = std::collections::HashSet::new();
    for url in [
        format!("https://open.example:{}/", canary.address.port()),
        format!("https://open.example:{}/", closed.port()),
        format!("https://127.0.0.1:{}/", canary.address.port()),
        format!("https://10.0.0.1:{}/", canary.address.port()),
        format!("http://open.example:{}/", canary.address.port()),
        "https://missing.example/".to_owned(),
        "https://broken.example/".to_owned(),
        format!("http://{closed}/"),
        format!("https://{}/", no_http.address),
        no_http.url("/"),
        hangs_up.url("/"),
        slow.url("/"),
    ] {
        let error = refused(&client, &url, Purpose::Document).await;
        seen.insert(error.fault as u8);
        assert_eq!(error.to_string(), "the server could not be reached", "{url}");
    }
    assert!(seen.len() >= 6, "the causes differ, for the log alone");
    assert_eq!(canary.connections(), 0);
}

/// A private port is never touched, so whether somebody listens there cannot show in the time.
#[tokio::test]
async fn row_49_open_and_closed_private_ports_take_the_same_time() {
    let canary = Server::canary().await;
    let closed = closed_port().await;
    let dns = FaultDns::start(|question| of_kind(question, &["127.0.0.1"])).await;
    let client = Setup::new().dns(dns.address).client();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        for (port, times) in [canary.address.port(), closed.port()].into_iter().zip(&mut times) {
            let start = start_watch();
            let error = refused(&client, &format!("https://open.example:{port}/"), Purpose::Document).await;
            times.push(start.elapsed());
            assert_eq!(error.fault, HttpFault::AddressNotAllowed);
        }
    }
    let [open, shut] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    assert!(open.abs_diff(shut) < Duration::from_millis(2), "open {open:?}, closed {shut:?}");
    assert_eq!(canary.connections(), 0);
}
