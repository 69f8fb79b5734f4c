//! Row 41: names whose addresses change between two questions, or that mix good and bad ones.

use std::net::{IpAddr, SocketAddr};

use bowerbird_core::ports::{HttpFault, Purpose, Sent};
use hickory_proto::rr::RecordType;

use crate::support::dns::{FaultDns, Reply, of_kind};
use crate::support::server::Server;
use crate::support::{Setup, fetched, refused};

const TRIES: usize = 1000;
/// Stands for a public address, so that nothing leaves this machine.
const PUBLIC: &str = "127.0.0.2";

#[tokio::test]
async fn row_41_rebinding_never_reaches_the_second_answer() {
    let canary = Server::canary().await;
    // Every second answer is the private one.
    let dns = FaultDns::start(|question| match question.kind {
        RecordType::A => Reply::addresses(&[if question.number.is_multiple_of(2) { PUBLIC } else { "127.0.0.1" }]),
        _ => Reply::Records(Vec::new()),
    })
    .await;
    let mut setup = Setup::new().dns(dns.address);
    setup.switches.public_addresses = vec![PUBLIC.parse::<IpAddr>().unwrap()];
    let client = setup.client();
    let url = format!("https://rebind.example:{}/", canary.address.port());
    let mut faults = Vec::new();
    for _ in 0..TRIES {
        let error = refused(&client, &url, Purpose::Document).await;
        assert_eq!(error.sent, Sent::No);
        faults.push(error.fault);
    }
    assert_eq!(canary.connections(), 0);
    assert_eq!(dns.questions_for_a(), TRIES, "one resolution for each connection, no second question");
    let count = |fault| faults.iter().filter(|&&seen| seen == fault).count();
    assert_eq!(count(HttpFault::AddressNotAllowed), TRIES / 2);
    assert_eq!(count(HttpFault::Connect), TRIES / 2, "the checked address itself was dialled");
}

#[tokio::test]
async fn row_41_one_private_address_condemns_the_whole_answer() {
    let canary = Server::canary().await;
    let good = Server::start_at(SocketAddr::new(PUBLIC.parse().unwrap(), canary.address.port()), |_, _| async {}).await;
    for mixed in [
        &[PUBLIC, "127.0.0.1"][..],
        &["127.0.0.1", PUBLIC],
        &[PUBLIC, PUBLIC, PUBLIC, "10.0.0.1"],
        &[PUBLIC, "::1"],
        &[PUBLIC, "fd00::1"],
        // The ninth is never dialled, and is checked all the same.
        &[PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC, "127.0.0.1"],
    ] {
        let dns = FaultDns::start(move |question| of_kind(question, mixed)).await;
        let mut setup = Setup::new().dns(dns.address);
        setup.switches.public_addresses = vec![PUBLIC.parse().unwrap()];
        let url = format!("https://mixed.example:{}/", canary.address.port());
        let error = refused(&setup.client(), &url, Purpose::Document).await;
        assert_eq!(error.fault, HttpFault::AddressNotAllowed, "{mixed:?}");
    }
    assert_eq!((canary.connections(), good.connections()), (0, 0));
}

#[tokio::test]
async fn row_41_aliases_are_followed_and_checked_too() {
    let canary = Server::canary().await;
    let dns = FaultDns::start(|question| {
        if question.name.starts_with("alias") {
            Reply::Records(vec![crate::support::dns::cname("inside.example.")])
        } else {
            of_kind(question, &["127.0.0.1"])
        }
    })
    .await;
    let client = Setup::new().dns(dns.address).client();
    let url = format!("https://alias.example:{}/", canary.address.port());
    assert_eq!(refused(&client, &url, Purpose::Document).await.fault, HttpFault::AddressNotAllowed);
    assert_eq!(canary.connections(), 0);
}

/// A checked connection that is still open needs no second look, and the name's new owner does not get it.
#[tokio::test]
async fn an_open_connection_outlives_a_change_of_address() {
    let server = Server::fixed(crate::support::server::OK).await;
    let port = server.address.port();
    let dns = FaultDns::start(|question| match question.kind {
        RecordType::A if question.number == 0 => Reply::addresses(&["127.0.0.1"]),
        RecordType::A => Reply::nothing(),
        _ => Reply::Records(Vec::new()),
    })
    .await;
    let client = Setup::new().dns(dns.address).allow_name(&format!("pds.example:{port}")).client();
    for _ in 0..5 {
        fetched(&client, &format!("http://pds.example:{port}/"), Purpose::Api).await;
    }
    assert_eq!((server.connections(), dns.questions_for_a()), (1, 1));
}
