//! The whole walk on scripted HTTP and DNS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{Clock, Dns, DnsError, HttpError, HttpFault};
use bowerbird_core::testing::{ScriptedHttp, TableDns, TestClock};
use bowerbird_core::{Did, Handle};
use bowerbird_oauth::{Origin, TransportPolicy};
use bytes::Bytes;
use http::Response;
use serde_json::json;
use url::Url;

use super::cache::JUST_READ;
use super::*;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const MALLORY: &str = "did:plc:mmmmmmmmmmmmmmmmmmmmmmmm";

/// A small web: URL → (status, body). Other URLs name hosts that do not exist.
#[derive(Default)]
struct Web(HashMap<String, (u16, String)>);

impl Web {
    fn document(mut self, did: &str, handle: &str) -> Self {
        let document = json!({"id": did, "alsoKnownAs": [format!("at://{handle}")], "service": [
            {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example"}]});
        self.0.insert(format!("https://plc.example/{did}"), (200, document.to_string()));
        self
    }

    fn page(mut self, url: &str, status: u16, body: &str) -> Self {
        self.0.insert(url.to_owned(), (status, body.to_owned()));
        self
    }

    fn http(self) -> Arc<ScriptedHttp> {
        Arc::new(ScriptedHttp::new(move |request| match self.0.get(&request.uri()) {
            Some((status, body)) => Ok(Response::builder().status(*status).body(Bytes::from(body.clone())).unwrap()),
            None => Err(HttpError::not_sent(HttpFault::NameNotFound, None)),
        }))
    }
}

struct World {
    http: Arc<ScriptedHttp>,
    clock: Arc<TestClock>,
    identities: Identities,
}

fn world(web: Web, dns: Arc<dyn Dns>, adjust: impl FnOnce(&mut IdentityConfig)) -> World {
    let transport = TransportPolicy::https_only();
    let mut config = IdentityConfig {
        own_origin: Origin::parse("https://bower.example", &transport).unwrap(),
        transport,
        plc_url: Url::parse("https://plc.example").unwrap(),
        handle_resolver_url: None,
        slingshot_url: Url::parse("https://slingshot.example").unwrap(),
        resolver: ResolverMode::Native,
    };
    adjust(&mut config);
    let (http, clock) = (web.http(), Arc::new(TestClock::new()));
    let clock_port: Arc<dyn Clock> = clock.clone();
    let identities = Identities::new(config, http.clone(), dns, &clock_port);
    World { http, clock, identities }
}

fn dns(records: &[(&str, &[&str])]) -> Arc<dyn Dns> {
    let table = TableDns::default();
    for (name, values) in records {
        table.set(&format!("_atproto.{name}"), values);
    }
    Arc::new(table)
}

fn did(text: &str) -> Did {
    Did::parse(text).unwrap()
}

fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

/// DNS that is down.
struct NoDns;

#[async_trait]
impl Dns for NoDns {
    async fn txt(&self, _: &str) -> Result<Vec<String>, DnsError> {
        Err(DnsError::Timeout)
    }
}

/// DNS that never answers.
struct HangingDns;

#[async_trait]
impl Dns for HangingDns {
    async fn txt(&self, _: &str) -> Result<Vec<String>, DnsError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn dns_alone_is_enough() {
    let world = world(
        Web::default().document(ALICE, "alice.test"),
        dns(&[("alice.test", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])]),
        |_| (),
    );
    let identity = world.identities.resolve_handle(&handle("alice.test")).await.unwrap();
    assert_eq!((identity.did.as_str(), identity.pds.as_str()), (ALICE, "https://pds.example"));
    assert_eq!(world.identities.shown_handle(&identity).await, "alice.test");
}

#[tokio::test]
async fn https_is_enough_when_dns_is_down() {
    let web =
        || Web::default().document(ALICE, "alice.test").page("https://alice.test/.well-known/atproto-did", 200, ALICE);
    let world = world(web(), Arc::new(NoDns), |_| ());
    assert_eq!(world.identities.resolve_handle(&handle("alice.test")).await.unwrap().did, did(ALICE));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_way_may_object_for_a_second_only() {
    let web =
        Web::default().document(ALICE, "alice.test").page("https://alice.test/.well-known/atproto-did", 200, ALICE);
    let world = world(web, Arc::new(HangingDns), |_| ());
    let alice = handle("alice.test");
    let found = tokio::time::timeout(Duration::from_secs(2), world.identities.resolve_handle(&alice));
    assert_eq!(found.await.unwrap().unwrap().did, did(ALICE));
}

#[tokio::test]
async fn row_47_two_ways_with_two_answers_are_ambiguous() {
    let web = Web::default().document(ALICE, "alice.test").document(MALLORY, "alice.test").page(
        "https://alice.test/.well-known/atproto-did",
        200,
        MALLORY,
    );
    let world = world(web, dns(&[("alice.test", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])]), |_| ());
    let error = world.identities.resolve_handle(&handle("alice.test")).await.unwrap_err();
    assert!(matches!(error, IdentityError::Ambiguous(_)), "{error:?}");
    let asked_plc = world.http.sent().iter().any(|request| request.uri().starts_with("https://plc.example"));
    assert!(!asked_plc, "no document is fetched for an ambiguous handle");
}

#[tokio::test]
async fn row_32_a_handle_must_be_claimed_by_its_account() {
    let world = world(
        Web::default().document(MALLORY, "mallory.test").page(
            "https://alice.test/.well-known/atproto-did",
            200,
            MALLORY,
        ),
        dns(&[]),
        |_| (),
    );
    let error = world.identities.resolve_handle(&handle("alice.test")).await.unwrap_err();
    assert!(matches!(error, IdentityError::NotClaimed(_)), "{error:?}");
}

#[tokio::test]
async fn row_32_a_claim_that_does_not_point_back_is_shown_as_invalid() {
    // Mallory's document claims Alice's handle; the handle itself names Alice.
    let web = Web::default().document(MALLORY, "alice.test").document(ALICE, "alice.test");
    let world = world(web, dns(&[("alice.test", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])]), |_| ());
    let mallory = world.identities.resolve(&did(MALLORY)).await.unwrap();
    assert_eq!(mallory.claimed_handle, Some(handle("alice.test")));
    assert_eq!(world.identities.shown_handle(&mallory).await, Handle::INVALID);
}

#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let web = Web::default().page("https://plc.example/did:plc:mmmmmmmmmmmmmmmmmmmmmmmm", 404, "").page(
        &format!("https://plc.example/{ALICE}"),
        500,
        "",
    );
    let world = world(web, dns(&[]), |_| ());
    let identities = &world.identities;
    let of = async |text: &str| identities.resolve(&did(text)).await.unwrap_err();
    assert!(matches!(of(MALLORY).await, IdentityError::DidNotFound));
    assert!(matches!(of(ALICE).await, IdentityError::Unreachable(Unreachable::Status(_))));
    assert!(matches!(of("did:key:zQ3sh").await, IdentityError::UnsupportedMethod));
    assert!(matches!(of("did:plc:short").await, IdentityError::UnsupportedMethod));
    assert!(matches!(of("did:web:127.0.0.1").await, IdentityError::UnsupportedMethod));
    assert!(matches!(of("did:web:gone.test").await, IdentityError::Unreachable(_)));
    let lost = identities.resolve_handle(&handle("nobody.test")).await.unwrap_err();
    assert!(matches!(lost, IdentityError::HandleNotFound(_)));
}

#[tokio::test]
async fn a_document_is_good_for_a_moment_and_passed_over_on_request() {
    let world = world(Web::default().document(ALICE, "alice.test"), dns(&[]), |_| ());
    let fetches = || world.http.sent().len();
    world.identities.resolve(&did(ALICE)).await.unwrap();
    world.identities.resolve(&did(ALICE)).await.unwrap();
    assert_eq!(fetches(), 1);
    world.identities.resolve_uncached(&did(ALICE)).await.unwrap();
    assert_eq!(fetches(), 2);
    world.clock.advance(JUST_READ);
    world.identities.resolve(&did(ALICE)).await.unwrap();
    assert_eq!(fetches(), 3);
}

#[tokio::test]
async fn who_asks_at_once_shares_one_reading() {
    let world = world(Web::default().document(ALICE, "alice.test"), dns(&[]), |_| ());
    let alice = did(ALICE);
    let found = futures_util::future::join_all((0..50).map(|_| world.identities.resolve(&alice))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(world.http.sent().len(), 1);
}

#[tokio::test]
async fn a_remembered_owner_is_asked_for_before_a_handle_is_refused_or_shown_as_invalid() {
    // The handle's own side named Mallory, who had claimed it; now it names Alice, and both claim it.
    let web = || Web::default().document(ALICE, "alice.test").document(MALLORY, "alice.test");
    let table = Arc::new(TableDns::default());
    let world = world(web(), table.clone(), |_| ());
    table.set("_atproto.alice.test", &[&format!("did={MALLORY}")]);
    assert_eq!(world.identities.resolve_handle(&handle("alice.test")).await.unwrap().did, did(MALLORY));
    table.set("_atproto.alice.test", &[&format!("did={ALICE}")]);
    let alice = world.identities.resolve(&did(ALICE)).await.unwrap();
    assert_eq!(world.identities.shown_handle(&alice).await, "alice.test");
    assert_eq!(world.identities.resolve_handle(&handle("alice.test")).await.unwrap().did, did(ALICE));
}

const XRPC: &str = "https://hint.example/xrpc/com.atproto.identity.resolveHandle?handle=alice.test";
const SLINGSHOT: &str = "https://slingshot.example/xrpc/com.bad-example.identity.resolveMiniDoc?identifier=alice.test";

#[tokio::test]
async fn a_hint_saves_the_walk_when_the_document_agrees() {
    let mini = json!({"did": ALICE, "handle": "alice.test", "pds": "https://lying.example"}).to_string();
    let web = Web::default().document(ALICE, "alice.test").page(SLINGSHOT, 200, &mini);
    let world = world(web, Arc::new(NoDns), |config| config.resolver = ResolverMode::Slingshot);
    let identity = world.identities.resolve_handle(&handle("alice.test")).await.unwrap();
    assert_eq!(identity.pds.as_str(), "https://pds.example", "only the document is believed");
    let urls: Vec<String> = world.http.sent().iter().map(bowerbird_core::testing::SentRequest::uri).collect();
    assert_eq!(urls, [SLINGSHOT.to_owned(), format!("https://plc.example/{ALICE}")]);
}

#[tokio::test]
async fn a_lying_hint_is_overruled_by_the_native_ways() {
    let lie = json!({"did": MALLORY}).to_string();
    let web = Web::default()
        .document(ALICE, "alice.test")
        .document(MALLORY, "mallory.test")
        .page(XRPC, 200, &lie)
        .page(SLINGSHOT, 400, r#"{"error":"InvalidRequest"}"#);
    let world = world(web, dns(&[("alice.test", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])]), |config| {
        config.resolver = ResolverMode::Slingshot;
        config.handle_resolver_url = Some(Url::parse("https://hint.example/").unwrap());
    });
    assert_eq!(world.identities.resolve_handle(&handle("alice.test")).await.unwrap().did, did(ALICE));
}

#[tokio::test]
async fn hybrid_asks_slingshot_only_where_nothing_was_found() {
    let answer = json!({"did": ALICE}).to_string();
    let web = || Web::default().document(ALICE, "alice.test").page(SLINGSHOT, 200, &answer);
    let found = world(web(), dns(&[("alice.test", &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])]), |config| {
        config.resolver = ResolverMode::Hybrid;
    });
    found.identities.resolve_handle(&handle("alice.test")).await.unwrap();
    assert!(!found.http.sent().iter().any(|request| request.uri() == SLINGSHOT));
    let lost = world(web(), Arc::new(NoDns), |config| config.resolver = ResolverMode::Hybrid);
    lost.identities.resolve_handle(&handle("alice.test")).await.unwrap();
    assert!(lost.http.sent().iter().any(|request| request.uri() == SLINGSHOT));
    let native = world(web(), Arc::new(NoDns), |_| ());
    assert!(native.identities.resolve_handle(&handle("alice.test")).await.is_err());
    assert!(!native.http.sent().iter().any(|request| request.uri() == SLINGSHOT));
}
