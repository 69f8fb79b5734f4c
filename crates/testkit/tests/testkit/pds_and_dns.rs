//! The fault PDS' methods, and the fault DNS.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::hand_client::HandClient;
use bowerbird_testkit::fault::{DnsAnswer, FaultDns, FaultNetwork, profile_record};
use bowerbird_testkit::http_client::{TestClient, TestRequest};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

#[tokio::test]
async fn records_are_written_by_their_owner_and_read_by_all() {
    let network = FaultNetwork::start().await;
    let (alice, bob) = (network.add_account("alice.test"), network.add_account("bob.test"));
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    let pds = network.pds();
    let url = pds.server().url("/xrpc/com.atproto.repo.createRecord");
    for (repo, status) in [(&alice.did, 200), (&bob.did, 400)] {
        let proof = client.proof("POST", &url, Some(&tokens.access));
        let input = json!({"repo": repo, "collection": "app.bsky.feed.post", "rkey": "one", "record": {"text": "hi"}});
        let request = TestRequest::post_json(&url, &input)
            .header("dpop", &proof)
            .header("authorization", &format!("DPoP {}", tokens.access));
        let _answer = client.http.send(request).await.expect_status(status);
    }
    assert_eq!(pds.record(&alice.did, "app.bsky.feed.post", "one").unwrap()["text"], "hi");
    assert!(pds.record_keys(&bob.did, "app.bsky.feed.post").is_empty());
    pds.put_record(&bob.did, "app.bsky.actor.profile", "self", profile_record("Bob", Some("png"), "image/png"));
    let read = format!("/xrpc/com.atproto.repo.getRecord?repo={}&collection=app.bsky.actor.profile&rkey=self", bob.did);
    assert_eq!(client.http.get(&pds.server().url(&read)).await.json()["value"]["displayName"], "Bob");
}

#[tokio::test]
async fn uploads_are_counted_and_hashed_not_kept() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    let url = network.pds().server().url("/xrpc/com.atproto.repo.uploadBlob");
    let proof = client.proof("POST", &url, Some(&tokens.access));
    let request = TestRequest::new("POST", &url)
        .header("dpop", &proof)
        .header("authorization", &format!("DPoP {}", tokens.access));
    let request = request.header("content-type", "image/png").body(vec![7; 3_000_000]);
    assert_eq!(client.http.send(request).await.expect_status(200).json()["blob"]["size"], 3_000_000);
    let upload = network.pds().uploads().remove(0);
    assert_eq!((upload.bytes, upload.did, upload.mime_type.as_str()), (3_000_000, alice.did, "image/png"));
    assert!(network.pds().server().log().at("/xrpc/com.atproto.repo.uploadBlob")[0].body.is_empty());
}

#[tokio::test]
async fn hostile_answers_and_the_echo_come_as_asked() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    let server = network.pds().server().clone();
    let blob = client.http.get(&server.url("/xrpc/com.atproto.sync.getBlob?did=x&cid=html")).await;
    assert_eq!(blob.header("content-type"), Some("text/html"));
    assert!(blob.header("set-cookie").is_some() && blob.header("strict-transport-security").is_some());
    let hostile = client.call(&server.url("/xrpc/app.example.hostile"), &tokens.access).await.expect_status(200);
    assert!(hostile.header("location").is_some());
    let echo = client.call(&server.url("/xrpc/app.example.echo?a=1"), &tokens.access).await.json();
    assert_eq!(echo["target"], "/xrpc/app.example.echo?a=1");
    assert!(echo["headers"].as_array().unwrap().iter().any(|header| header[0] == "dpop"));
    let fast = client.http.get(&server.url("/xrpc/app.example.fast")).await.expect_status(200);
    assert_eq!(fast.json(), json!({"ok": true}));
    assert_eq!(server.count("/xrpc/app.example.fast"), 0);
}

#[tokio::test]
async fn bearers_and_strangers_are_refused_in_the_real_words() {
    let network = FaultNetwork::start().await;
    network.add_account("alice.test");
    let mut client = HandClient::public(&network);
    let tokens = client.log_in("alice.test").await;
    let url = network.pds().server().url("/xrpc/com.atproto.server.getSession");
    let none = TestClient::new().get(&url).await.expect_status(401);
    assert_eq!(none.json(), json!({"error": "AuthMissing", "message": "Authentication Required"}));
    let bearer = TestRequest::get(&url).header("authorization", &format!("Bearer {}", tokens.access));
    let bearer = TestClient::new().send(bearer).await.expect_status(400);
    assert_eq!(bearer.json(), json!({"error": "InvalidToken", "message": "Malformed token"}));
    client.key = bowerbird_oauth::SigningKey::from_scalar(&[99; 32]).unwrap();
    let stolen = client.call(&url, &tokens.access).await.expect_status(401);
    assert_eq!(stolen.json()["message"], "Invalid DPoP key binding");
    let unknown = client.call(&url, "CANARY-AT-00").await.expect_status(401);
    assert_eq!(unknown.json()["error"], "invalid_token");
}

async fn ask(dns: &FaultDns, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question(name, kind), dns.address()).await.unwrap();
    let mut answer = [0; 2048];
    let length = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut answer)).await.unwrap().unwrap();
    Message::from_vec(&answer[..length]).unwrap()
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

#[tokio::test]
async fn dns_follows_its_script() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let dns = network.dns();
    let txt = ask(dns, "_atproto.alice.test.", RecordType::TXT).await;
    assert!(txt.answers[0].data.to_string().contains(&format!("did={}", alice.did)));
    dns.flip("rebind.test", Ipv4Addr::new(93, 184, 216, 34), Ipv4Addr::LOCALHOST);
    for address in ["93.184.216.34", "127.0.0.1", "127.0.0.1"] {
        assert_eq!(ask(dns, "rebind.test.", RecordType::A).await.answers[0].data.to_string(), address);
    }
    assert_eq!(dns.queries("rebind.test"), 3);
    assert_eq!(ask(dns, "nobody.test.", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    assert!(ask(dns, "rebind.test.", RecordType::AAAA).await.answers.is_empty());
    dns.script("broken.test", "A", vec![DnsAnswer::ServerFailure, DnsAnswer::Silence]);
    assert_eq!(ask(dns, "broken.test.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    let silent = tokio::time::timeout(Duration::from_millis(200), ask(dns, "broken.test.", RecordType::A)).await;
    assert!(silent.is_err());
}

#[tokio::test]
async fn long_dns_answers_are_cut_over_udp_and_whole_over_tcp() {
    let dns = FaultDns::start();
    dns.script("long.test", "TXT", vec![DnsAnswer::Txt(vec!["x".repeat(30_000)])]);
    assert!(ask(&dns, "long.test.", RecordType::TXT).await.metadata.truncation);
    #[expect(clippy::disallowed_methods, reason = "a DNS client of the test's own")]
    let mut stream = TcpStream::connect(dns.address()).await.unwrap();
    let question = question("long.test.", RecordType::TXT);
    stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.len() > 30_000);
}
