use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::SPANS;
use bowerbird_core::ports::{HttpClient, HttpError, HttpFault, Purpose, StreamBody};
use bowerbird_core::testing::{SeededEntropy, TestClock};
use bowerbird_testkit::fault::TracedSpan;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument as _, Span, info_span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::exporter::SpanFate;
use super::*;

/// What a collector does with a request.
#[derive(Clone, Copy)]
enum Does {
    Status(u16),
    RetryAfter(&'static str),
    Nothing,
    Silence,
}

/// A collector by script; when that is at its end, it takes everything.
#[derive(Default)]
struct Collector {
    script: Mutex<Vec<Does>>,
    came: Mutex<Vec<Request<Bytes>>>,
}

impl Collector {
    fn that(script: &[Does]) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.to_vec()), came: Mutex::default() })
    }

    fn requests(&self) -> usize {
        self.came.lock().len()
    }

    fn spans(&self) -> Vec<TracedSpan> {
        self.came.lock().iter().flat_map(|request| TracedSpan::read(request.body())).collect()
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send(&self, request: Request<Bytes>, purpose: Purpose) -> Result<Response<Bytes>, HttpError> {
        assert_eq!(purpose, Purpose::Traces, "any other purpose leaves spans, and sending them would never end");
        self.came.lock().push(request);
        let does = {
            let mut script = self.script.lock();
            if script.is_empty() { Does::Status(200) } else { script.remove(0) }
        };
        let answer = |status| Response::builder().status(status);
        match does {
            Does::Status(status) => Ok(answer(status).body(Bytes::new()).unwrap()),
            Does::RetryAfter(text) => Ok(answer(503).header("retry-after", text).body(Bytes::new()).unwrap()),
            Does::Nothing => Err(HttpError::not_sent(HttpFault::Connect, None)),
            Does::Silence => std::future::pending().await,
        }
    }

    async fn stream(&self, _request: Request<StreamBody>) -> Result<Response<StreamBody>, HttpError> {
        panic!("spans are not streamed")
    }
}

/// Somebody who makes spans.
struct Maker {
    collector: Arc<Collector>,
    counts: SpanCounts,
    clock: Arc<TestClock>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
    _here: tracing::subscriber::DefaultGuard,
}

impl Maker {
    /// Whose spans go to a collector from now on; on a runtime of one thread.
    fn start(collector: Arc<Collector>, sampler: &str) -> Self {
        let clock = Arc::new(TestClock::new());
        let config = TracesConfig {
            endpoint: Uri::from_static("https://collector.example/v1/traces"),
            headers: HeaderMap::from_iter([("x-key".parse().unwrap(), HeaderValue::from_static("the-key"))]),
            service_name: "bower".to_owned(),
            instance: "host/1".to_owned(),
            version: "1.2.3",
            sampler: Sampler::parse(sampler, "1").unwrap(),
        };
        let (layer, exporter) = traces(config, Arc::clone(&clock) as _, Arc::new(SeededEntropy::new(1)));
        let counts = exporter.counts();
        let layer = layer.with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO));
        let here = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(exporter.run(Arc::clone(&collector) as _, async {
            let _gone = stopped.await;
        }));
        Self { collector, counts, clock, stop: Some(stop), task, _here: here }
    }

    async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }

    fn counted(&self) -> [u64; 3] {
        [SpanFate::Sent, SpanFate::Dropped, SpanFate::GivenUp].map(|fate| self.counts.of(fate))
    }
}

fn make(name: &'static str) -> Span {
    info_span!(target: SPANS, "work", span.name = name)
}

#[tokio::test(start_paused = true)]
async fn spans_arrive_with_parents_times_and_nothing_that_is_not_listed() {
    let mut maker = Maker::start(Collector::that(&[]), "always_on");
    let clock = Arc::clone(&maker.clock);
    let millis = clock.now().as_millis().unsigned_abs();
    {
        let request = info_span!(
            target: SPANS, "request", span.kind = "server", span.name = "GET /x", span.failed = Empty,
            http.route = "/x", http.response.status_code = Empty, request_id = "7f", secret = "canary", handle = "alice.example",
        );
        let _in_request = request.enter();
        clock.advance(Duration::from_millis(2));
        let call = info_span!(target: SPANS, "outgoing", span.kind = "client", server.address = "pds.example", error.type = Empty);
        let _of_a_library = tracing::info_span!("query", secret = "canary").entered();
        clock.advance(Duration::from_millis(3));
        call.record("error.type", "timeout");
        drop(call);
        request.record("http.response.status_code", 503_u16);
        request.record("span.failed", true);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    maker.stop().await;
    let spans = maker.collector.spans();
    let [call, request] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((request.name.as_str(), request.parent.as_str(), request.failed), ("GET /x", "", true));
    assert_eq!((call.name.as_str(), &call.parent, &call.trace), ("outgoing", &request.id, &request.trace));
    assert_eq!((request.kind.as_str_name(), call.kind.as_str_name()), ("SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"));
    let nanos = millis * 1_000_000;
    assert_eq!(request.times, (nanos, nanos + 5_000_000));
    assert_eq!(call.times, (nanos + 2_000_000, nanos + 5_000_000));
    let pairs = |of: &TracedSpan| of.attributes.clone();
    let expected = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        pairs(request),
        expected(&[("http.response.status_code", "503"), ("http.route", "/x"), ("request_id", "7f")])
    );
    assert_eq!(pairs(call), expected(&[("error.type", "timeout"), ("server.address", "pds.example")]));
    assert_eq!(
        request.resource,
        expected(&[("service.instance.id", "host/1"), ("service.name", "bower"), ("service.version", "1.2.3")])
    );
    let came = maker.collector.came.lock();
    assert_eq!(came[0].headers()["content-type"], "application/x-protobuf");
    assert_eq!(came[0].headers()["x-key"], "the-key");
    assert!(!came.iter().any(|request| String::from_utf8_lossy(request.body()).contains("canary")));
    assert_eq!(maker.counted(), [2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_span_ends_with_its_work_though_a_child_outlives_it() {
    let mut maker = Maker::start(Collector::that(&[]), "always_on");
    let clock = Arc::clone(&maker.clock);
    let child = async {
        clock.advance(Duration::from_millis(1));
        make("child")
    };
    let child = child.instrument(make("caller")).await;
    clock.advance(Duration::from_secs(9));
    drop(child);
    maker.stop().await;
    let spans = maker.collector.spans();
    let took = |name: &str| {
        let (began, ended) = spans.iter().find(|span| span.name == name).unwrap().times;
        ended - began
    };
    assert_eq!((took("caller"), took("child")), (1_000_000, 9_000_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_kept_whole_or_not_at_all_and_a_trusted_caller_may_decide() {
    let mut maker = Maker::start(Collector::that(&[]), "parentbased_always_off");
    let caller = |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
    for (name, caller) in
        [("kept", Some(caller("01"))), ("left", Some(caller("00"))), ("odd", Some("x".to_owned())), ("none", None)]
    {
        let request = info_span!(target: SPANS, "request", span.name = name, span.caller = caller);
        request.in_scope(|| drop(make("child")));
    }
    maker.stop().await;
    let spans = maker.collector.spans();
    let [child, request] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(request.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((request.name.as_str(), request.parent.as_str()), ("kept", "00f067aa0ba902b7"));
    assert_eq!((child.name.as_str(), &child.parent, &child.trace), ("child", &request.id, &request.trace));
    assert_eq!((request.flags & 0x300, child.flags & 0x300), (0x300, 0x100), "whose parent is elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_dead_collector_costs_spans_and_nothing_else() {
    let mut maker = Maker::start(Collector::that(&[Does::Silence]), "always_on");
    drop(make("first"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(maker.collector.requests(), 1, "it does not answer");
    for _ in 0..QUEUE + 100 {
        drop(make("more"));
    }
    assert_eq!(maker.counted(), [0, 100, 0], "what does not fit is dropped at once, and counted");
    maker.task.abort();
    assert!((&mut maker.task).await.is_err());
    drop(make("later"));
    assert_eq!(maker.counted(), [0, 101, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_again_when_that_may_help_and_not_for_ever() {
    let unavailable = Does::Status(503);
    let mut maker = Maker::start(
        Collector::that(&[unavailable, Does::RetryAfter("20"), Does::Nothing, Does::Status(200), Does::Status(500)]),
        "always_on",
    );
    drop(make("patience"));
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(maker.collector.requests(), 2, "it asked for a pause");
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!((maker.collector.requests(), maker.counted()), (4, [1, 0, 0]));
    drop(make("refused"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((maker.collector.requests(), maker.counted()), (5, [1, 0, 1]), "500 is no reason to repeat");
    maker.collector.script.lock().extend([unavailable; 4]);
    drop(make("given up"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((maker.collector.requests(), maker.counted()), (9, [1, 0, 2]));
    drop(make("later"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((maker.collector.requests(), maker.counted()), (10, [2, 0, 2]), "it is alive again");
    maker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_what_is_left_and_repeats_nothing() {
    let mut maker = Maker::start(Collector::that(&[]), "always_on");
    for _ in 0..1_300 {
        drop(make("work"));
    }
    maker.stop().await;
    assert_eq!((maker.collector.spans().len(), maker.collector.requests(), maker.counted()), (1_300, 3, [1_300, 0, 0]));
    let mut maker = Maker::start(Collector::that(&[Does::Nothing; 9]), "always_on");
    drop(make("work"));
    maker.stop().await;
    assert_eq!((maker.collector.requests(), maker.counted()), (1, [0, 0, 1]));
}

#[tokio::test]
async fn without_a_layer_no_span_is_made() {
    let filter = Targets::new().with_default(LevelFilter::TRACE).with_target(SPANS, LevelFilter::OFF);
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(filter));
    assert!(make("none").is_disabled());
    assert!(!info_span!("another").is_disabled());
}
