//! Row 47, and what the DNS port promises.

use std::time::Duration;

use bowerbird_core::ports::{Dns, DnsError, HttpFault, Purpose};
use hickory_proto::op::ResponseCode;

use crate::support::dns::{FaultDns, Reply, cname, txt};
use crate::support::{Setup, refused, start_watch};

async fn txt_of(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Vec<String>, DnsError> {
    let dns = FaultDns::start(move |_| reply()).await;
    Setup::new().dns(dns.address).client().txt("_atproto.alice.example").await
}

#[tokio::test]
async fn records_are_joined_from_their_strings() {
    let records = txt_of(|| Reply::Records(vec![txt(&["did=did:plc:", "abc"]), txt(&["v=spf1"])])).await.unwrap();
    assert_eq!(records, ["did=did:plc:abc", "v=spf1"]);
}

#[tokio::test]
async fn no_name_and_no_records_are_an_empty_answer() {
    assert!(txt_of(|| Reply::Code(ResponseCode::NXDomain)).await.unwrap().is_empty());
    assert!(txt_of(|| Reply::Records(Vec::new())).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failing_server_is_an_error_and_not_an_empty_answer() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        assert!(matches!(txt_of(move || Reply::Code(code)).await, Err(DnsError::Failed(_))), "{code}");
    }
}

#[tokio::test]
async fn names_are_absolute_and_asked_for_once() {
    let dns = FaultDns::start(|question| {
        assert_eq!(question.name, "_atproto.alice.example.");
        Reply::nothing()
    })
    .await;
    let client = Setup::new().dns(dns.address).client();
    assert!(client.txt("_atproto.alice.example").await.unwrap().is_empty());
    assert_eq!(dns.questions(), 1);
}

#[tokio::test]
async fn row_47_two_identities_both_come_back_for_the_caller_to_refuse() {
    let both = || Reply::Records(vec![txt(&["did=did:plc:one"]), txt(&["did=did:plc:two"])]);
    assert_eq!(txt_of(both).await.unwrap(), ["did=did:plc:one", "did=did:plc:two"]);
}

#[tokio::test]
async fn row_47_a_flood_of_records_is_bounded() {
    let many = || Reply::Records((0..500).map(|n| txt(&[&format!("record {n}")])).collect());
    assert_eq!(txt_of(many).await.unwrap().len(), 64);
}

#[tokio::test]
async fn row_47_a_huge_record_is_left_out() {
    let part = "x".repeat(255);
    let long = move || {
        let parts = vec![part.as_str(); 240];
        Reply::Records(vec![txt(&parts), txt(&["did=did:plc:small"])])
    };
    assert_eq!(txt_of(long).await.unwrap(), ["did=did:plc:small"]);
}

#[tokio::test]
async fn row_47_a_loop_of_aliases_ends() {
    let dns = FaultDns::start(|question| {
        let target = if question.name.starts_with('a') { "b.loop.example." } else { "a.loop.example." };
        Reply::Records(vec![cname(target)])
    })
    .await;
    let client = Setup::new().dns(dns.address).client();
    let found = client.txt("a.loop.example").await;
    assert!(found.as_ref().is_ok_and(Vec::is_empty) || found.is_err(), "{found:?}");
    assert_ne!(refused(&client, "https://a.loop.example/", Purpose::Document).await.fault, HttpFault::Broken);
    assert!(dns.questions() < 100, "{} questions", dns.questions());
}

#[tokio::test]
async fn row_47_a_silent_server_costs_five_seconds_at_most() {
    let dns = FaultDns::start(|_| Reply::Silence).await;
    let client = Setup::new().dns(dns.address).faster(10).client();
    let start = start_watch();
    assert!(matches!(client.txt("_atproto.alice.example").await, Err(DnsError::Timeout)));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_bad_name_is_an_error_and_not_a_panic() {
    let dns = FaultDns::start(|_| Reply::nothing()).await;
    let client = Setup::new().dns(dns.address).client();
    for name in ["", "..", "a..b", &"a".repeat(64), &"a.".repeat(200), "ü.example"] {
        let found = client.txt(name).await;
        assert!(found.is_err() || found.is_ok_and(|records| records.is_empty()), "{name}");
    }
}
