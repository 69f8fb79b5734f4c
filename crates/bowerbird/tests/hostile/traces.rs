//! Traces: what a collector gets to see, whose trace is continued, and that a collector in trouble is nobody's trouble.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bowerbird_testkit::fault::{FaultNetwork, FaultServer, Misbehave, TracedSpan};
use bowerbird_testkit::http_client::{TestClient, TestRequest};

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const TRACES: &str = "/v1/traces";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

async fn traced(more: &[(&str, &str)]) -> (House, FaultServer) {
    let network = FaultNetwork::start().await;
    let collector = FaultServer::receiving();
    let options = options(&network).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.origin());
    let options = more.iter().fold(options, |options, (name, value)| options.env(name, value));
    (House::with(network, options).await, collector)
}

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

fn named<'a>(spans: &'a [TracedSpan], name: &str) -> Vec<&'a TracedSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [TracedSpan], name: &str) -> &'a TracedSpan {
    let found = named(spans, name);
    let [span] = found.as_slice() else { panic!("{} of {name} in {spans:#?}", found.len()) };
    span
}

fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_traced_through_the_house_and_no_further() {
    let (mut house, collector) = traced(&[("OTEL_SERVICE_NAME", "bower")]).await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    house.network.expire_all_access_tokens();
    let request = TestRequest::get(&house.server.url(&format!("{SESSION}?secret=canary-of-the-query")))
        .header("authorization", &format!("Bearer {seal}"))
        .header("traceparent", &traceparent())
        .header("tracestate", "vendor=canary-of-the-state")
        .header("baggage", "user=canary-of-the-baggage");
    let answer = house.server.client().send(request).await.expect_status(200);
    house.server.terminate(Duration::from_secs(20)).await.unwrap();

    let all = collector.traced_spans();
    assert!(all.iter().all(|span| span.resource["service.name"] == "bower"));
    let spans: Vec<TracedSpan> = all.iter().filter(|span| span.trace == TRACE).cloned().collect();
    let request = one(&spans, "GET /xrpc/{nsid}");
    assert_eq!((request.parent.as_str(), request.kind.as_str_name()), (CALLER, "SPAN_KIND_SERVER"));
    assert_eq!(request.attribute("http.response.status_code"), "200");
    assert_eq!(Some(request.attribute("request_id")), answer.header("x-request-id"));
    // The old access token, and the new one.
    let checkouts = named(&spans, "checkout");
    assert_eq!(checkouts.len(), 2);
    for checkout in &checkouts {
        assert_eq!((&checkout.parent, checkout.attribute("outcome")), (&request.id, "usable"));
    }
    let refresh = one(&spans, "refresh");
    assert_eq!((&refresh.parent, refresh.attribute("outcome")), (&checkouts[1].id, "granted"));
    assert_eq!(refresh.attribute("occasion"), "asked");
    let issuer = house.network.authorization_server().server().host_and_port();
    assert_eq!(refresh.attribute("issuer"), issuer);
    let sent = one(&spans, "outgoing refresh");
    assert_eq!((&sent.parent, sent.kind.as_str_name()), (&refresh.id, "SPAN_KIND_CLIENT"));
    assert_eq!(sent.attribute("http.response.status_code"), "200");
    let called = *named(&spans, "outgoing api").last().unwrap();
    assert_eq!(called.parent, request.id);
    assert_eq!(called.attribute("rpc.method"), "com.atproto.server.getSession");
    assert_eq!(called.attribute("server.address"), alice.pds.parse::<http::Uri>().unwrap().host().unwrap());
    for span in &spans {
        assert!(span.times.0 <= span.times.1 && span.times.0 >= request.times.0, "{span:?}");
    }

    // The login was traced too, and everything of it under names of ours.
    assert_eq!(named(&all, "GET /oauth/callback").len(), 1);
    assert!(!named(&all, "outgoing authorization").is_empty() && !named(&all, "outgoing document").is_empty());
    for request in collector.log().all() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        for word in ["canary", "alice", &alice.did, "did:", "code=", "state="] {
            assert!(!body.contains(word), "{word} in {body}");
        }
        assert_eq!(request.header("traceparent"), None);
    }
    for server in house.network.servers() {
        for request in server.log().all() {
            for header in ["traceparent", "tracestate", "baggage", "x-request-id"] {
                assert_eq!(request.header(header), None, "{header} at {}", request.target);
            }
        }
    }
    house.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_neither_continues_a_trace_nor_decides_what_is_kept() {
    let more = [("BOWERBIRD_TRUSTED_PROXIES", "10.9.9.9"), ("BOWERBIRD_TRACES_SAMPLER", "parentbased_always_on")];
    let (mut house, collector) = traced(&more).await;
    let client = house.server.client();
    for flags in ["00", "01"] {
        let request = TestRequest::get(&house.server.url("/docs"));
        client.send(request.header("traceparent", &format!("00-{TRACE}-{CALLER}-{flags}"))).await.must_be(200);
    }
    client.get(&house.server.url("/nowhere/canary")).await.must_be(404);
    client.get(&house.server.url("/health")).await.must_be(200);
    house.server.terminate(Duration::from_secs(20)).await.unwrap();
    let spans = collector.traced_spans();
    let docs = named(&spans, "GET /docs");
    assert_eq!(docs.len(), 2);
    assert!(docs.iter().all(|span| span.trace != TRACE && span.parent.is_empty()));
    let lost = one(&spans, "GET");
    assert_eq!((lost.attribute("http.response.status_code"), lost.attribute("http.route")), ("404", ""));
    assert!(!spans.iter().any(|span| span.name.contains("health")), "a probe is no visit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_none_traces_nothing_and_says_so() {
    let (mut house, collector) = traced(&[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    house.server.client().get(&house.server.url("/docs")).await.must_be(200);
    house.server.terminate(Duration::from_secs(20)).await.unwrap();
    assert_eq!(collector.count(TRACES), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_in_trouble_holds_up_no_request_and_no_stop() {
    let admin: SocketAddr = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (mut house, collector) = traced(&[("BOWERBIRD_ADMIN_LISTEN", &admin.to_string())]).await;
    let metrics =
        || async { TestClient::new().get(&format!("http://{admin}/metrics")).await.expect_status(200).text() };
    let (client, docs) = (house.server.client(), house.server.url("/docs"));
    collector.misbehave_times(TRACES, 1, Misbehave::status(400));
    client.get(&docs).await.must_be(200);
    house.until("it was refused", || house.server.stderr().text().contains("does not take spans")).await;
    assert_eq!(figure(&metrics().await, "bowerbird_spans_total{outcome=\"given_up\"}"), 1);
    client.get(&docs).await.must_be(200);
    house.until("it takes them again", || house.server.stderr().text().contains("takes spans again")).await;
    assert_eq!(figure(&metrics().await, "bowerbird_spans_total{outcome=\"sent\"}"), 1);

    collector.misbehave(TRACES, Misbehave::HangBefore);
    let before = collector.count(TRACES);
    client.get(&docs).await.must_be(200);
    house.until("it hangs", || collector.count(TRACES) > before).await;
    #[expect(clippy::disallowed_methods, reason = "how long it takes")]
    let began = Instant::now();
    // More than the queue holds.
    let visits = 4_300;
    for _ in 0..visits {
        client.get(&docs).await.must_be(200);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(40), "a single one that waited would take ten seconds: {took:?}");
    let text = metrics().await;
    assert_eq!(figure(&text, "bowerbird_spans_total{outcome=\"dropped\"}"), visits - 4_096);
    assert_eq!(figure(&text, "bowerbird_spans_total{outcome=\"sent\"}"), 1);
    let stopped = house.server.terminate(Duration::from_secs(9)).await;
    assert!(stopped.is_some_and(|status| status.success()), "the last spans have five seconds");
}
