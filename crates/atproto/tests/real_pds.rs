//! The library face and the proxy on the real PDS and PLC. Skipped where the test network is not installed.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should stop")]

use std::convert::Infallible;
use std::sync::Arc;

use bowerbird_atproto::{OAuthClient, OAuthClientPorts, OAuthError, OAuthSession, ProxyCall};
use bowerbird_core::ports::BoxError;
use bowerbird_core::{Did, NeedsReauth, Nsid};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::TransportPolicy;
use bowerbird_testkit::real::{NetworkOptions, RealNetwork};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use url::Url;

fn client_of(network: &RealNetwork) -> OAuthClient {
    let hosts = network.egress_allow();
    let clock = Arc::new(SystemClock::new());
    let egress_allow = hosts.split(',').map(|host| host.parse().unwrap()).collect();
    let net = NetClient::new(NetConfig { egress_allow, ..NetConfig::default() }, clock.clone()).unwrap();
    OAuthClient::builder("http://127.0.0.1:5000".parse().unwrap())
        .unwrap()
        .configure(|config| {
            config.plc_url = network.plc().parse().unwrap();
            config.handle_resolver_url = Some(network.pds().parse().unwrap());
            config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
        })
        .build(OAuthClientPorts { http: net.clone(), dns: net, clock, entropy: Arc::new(OsEntropy) })
        .unwrap()
}

async fn sign_in(network: &RealNetwork, client: &OAuthClient, identifier: &str) -> OAuthSession {
    let (url, _) = client.start_authorization(identifier, None).await.unwrap();
    let back = network.browser().approve(url.as_str(), network.account("alice.test")).await;
    client.handle_callback_query(Url::parse(&back).unwrap().query().unwrap()).await.unwrap()
}

async fn call(client: &OAuthClient, session: &OAuthSession, nsid: &str) -> Result<u16, OAuthError> {
    let url = format!("{}/xrpc/{nsid}", session.pds_url());
    client.make_authenticated_request(session, Method::GET, &url).await.map(|answer| answer.status().as_u16())
}

const GET_SESSION: &str = "com.atproto.server.getSession";

#[tokio::test(flavor = "multi_thread")]
async fn real_login_calls_refresh_and_revocation() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let client = client_of(&network);
    let alice = network.account("alice.test");
    for identifier in [alice.handle.as_str(), &alice.did, network.pds()] {
        let session = sign_in(&network, &client, identifier).await;
        assert_eq!((session.did().as_str(), session.handle()), (alice.did.as_str(), "alice.test"));
    }
    let session = client.session(&Did::parse(&alice.did).unwrap()).await.unwrap().unwrap();
    assert_eq!(call(&client, &session, GET_SESSION).await.unwrap(), 200);

    let note = json!({"repo": alice.did, "collection": "app.bsky.feed.post", "record":
        {"$type": "app.bsky.feed.post", "text": "hello", "createdAt": "2026-01-01T00:00:00Z"}});
    let request = Request::post(format!("{}/xrpc/com.atproto.repo.createRecord", session.pds_url()))
        .header("content-type", "application/json")
        .body(Bytes::from(note.to_string()))
        .unwrap();
    assert_eq!(client.send_authenticated(&session, request).await.unwrap().status(), 200);

    // Every nonce becomes invalid at once: one more attempt, nothing else.
    network.renew_nonces().await;
    assert_eq!(call(&client, &session, GET_SESSION).await.unwrap(), 200);

    // The access token is renewed, and the old one is dead at once.
    let session = client.refresh_session(&session).await.unwrap();
    assert_eq!(call(&client, &session, GET_SESSION).await.unwrap(), 200);

    // The person withdraws the access on the server's own pages.
    network.revoke_all(&alice.did).await;
    let gone = call(&client, &session, GET_SESSION).await;
    assert!(matches!(gone, Err(OAuthError::NeedsReauth(NeedsReauth::Revoked) | OAuthError::PdsRequest(_))), "{gone:?}");
    let session = sign_in(&network, &client, "alice.test").await;
    assert_eq!(call(&client, &session, GET_SESSION).await.unwrap(), 200);
    client.revoke_session(&session).await.unwrap();
    assert!(network.grants(&alice.did).await.is_empty(), "the grant is gone at the server too");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_denial_and_streamed_upload() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let client = client_of(&network);
    let alice = network.account("alice.test");
    let (url, _) = client.start_authorization("alice.test", None).await.unwrap();
    let back = network.browser().deny(url.as_str(), alice).await;
    let denied = client.handle_callback_query(Url::parse(&back).unwrap().query().unwrap()).await.unwrap_err();
    assert!(matches!(&denied, OAuthError::Finish(error) if error.code() == "access_denied"), "{denied}");

    let session = sign_in(&network, &client, "alice.test").await;
    let pieces =
        futures_util::stream::iter(0..32).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 64 * 1024]))));
    let body = StreamBody::new(pieces).map_err(|never| -> BoxError { match never {} }).boxed_unsync();
    let request = Request::post("/").header("content-type", "image/png").body(body).unwrap();
    let upload = ProxyCall {
        account: Arc::new(session.account().clone()),
        nsid: Nsid::parse("com.atproto.repo.uploadBlob").unwrap(),
        request,
    };
    let answer = client.atproto().proxy.call(upload).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["blob"]["size"], 32 * 64 * 1024);
}
