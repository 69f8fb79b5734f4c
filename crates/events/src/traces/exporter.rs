//! Sends what the layer collected, in batches, on a task of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, Entropy, HttpClient, Purpose};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::TracesConfig;
use super::otlp;
use super::span::Span;
use crate::webhooks::asked_pause;

/// Spans in one request.
const BATCH: usize = 512;
/// How long a span waits until its batch is full.
const GATHERING: Duration = Duration::from_secs(2);
/// Pauses before a batch is sent again, when the collector cannot take it now; then it is given up.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// A collector that asks for a pause gets this much at most: there is a queue behind.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanFate {
    /// The collector took them.
    Sent,
    /// Too many waited.
    Dropped,
    /// The collector was away for too long, or did not want them.
    GivenUp,
}

impl SpanFate {
    const ALL: [Self; 3] = [Self::Sent, Self::Dropped, Self::GivenUp];

    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::GivenUp => "given_up",
        }
    }
}

/// How many spans met which fate. Cheap to clone.
#[derive(Clone)]
pub struct SpanCounts(pub(crate) Family<[(&'static str, &'static str); 1], Counter>);

impl Default for SpanCounts {
    fn default() -> Self {
        let counts = Self(Family::default());
        for fate in SpanFate::ALL {
            counts.add(fate, 0);
        }
        counts
    }
}

impl SpanCounts {
    pub(super) fn add(&self, fate: SpanFate, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.0.get_or_create(&[("outcome", fate.name())]).inc_by(number);
    }

    #[cfg(test)]
    pub(super) fn of(&self, fate: SpanFate) -> u64 {
        self.0.get_or_create(&[("outcome", fate.name())]).get()
    }
}

/// Sends spans. Run it for as long as the server works.
pub struct SpanExporter {
    config: TracesConfig,
    spans: mpsc::Receiver<Span>,
    counts: SpanCounts,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Whether the last batch was not taken: only a change of that is worth a line in the log.
    failing: bool,
}

/// How an attempt ended.
enum Attempt {
    Taken,
    /// It is no use to send the same again.
    Refused,
    NotNow {
        asked: Option<Duration>,
    },
}

impl SpanExporter {
    pub(super) fn new(
        config: TracesConfig,
        spans: mpsc::Receiver<Span>,
        counts: SpanCounts,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { config, spans, counts, clock, entropy, failing: false }
    }

    /// What becomes of the spans, for the metrics.
    pub fn counts(&self) -> SpanCounts {
        self.counts.clone()
    }

    /// Sends spans until `stop` resolves; then what is left, each batch once. Whoever stops sets the deadline.
    pub async fn run(mut self, http: Arc<dyn HttpClient>, stop: impl Future<Output = ()>) {
        // Resolves once; whoever waits for it later waits for ever.
        let mut stop = std::pin::pin!(stop.fuse());
        let mut stopping = false;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if !stopping {
                stopping = self.gather(&mut batch, stop.as_mut()).await;
            }
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.deliver(http.as_ref(), &batch, stop.as_mut(), &mut stopping).await;
            batch.clear();
        }
    }

    /// Waits for a first span and gives others the time to join it. True when it is time to stop.
    async fn gather(&mut self, batch: &mut Vec<Span>, mut stop: Pin<&mut impl Future<Output = ()>>) -> bool {
        let spans = &mut self.spans;
        tokio::select! {
            biased;
            () = stop.as_mut() => return true,
            count = spans.recv_many(batch, BATCH) => if count == 0 { return true },
        }
        let fill = async { while batch.len() < BATCH && spans.recv_many(batch, BATCH - batch.len()).await > 0 {} };
        tokio::select! {
            biased;
            () = stop => true,
            _full_or_late = timeout(GATHERING, fill) => false,
        }
    }

    async fn deliver(
        &mut self,
        http: &dyn HttpClient,
        batch: &[Span],
        mut stop: Pin<&mut impl Future<Output = ()>>,
        stopping: &mut bool,
    ) {
        let body = Bytes::from(otlp::request(&self.config, batch));
        let mut pauses = PAUSES.iter();
        loop {
            let asked = match self.attempt(http, body.clone()).await {
                Attempt::Taken => return self.counts.add(SpanFate::Sent, batch.len()),
                Attempt::Refused => break,
                Attempt::NotNow { asked } => asked,
            };
            let Some(pause) = pauses.next().filter(|_| !*stopping) else { break };
            let pause = asked.map_or_else(|| self.varied(*pause), |asked| asked.min(LONGEST_ASKED));
            tokio::select! {
                biased;
                () = stop.as_mut() => *stopping = true,
                () = sleep(pause) => {}
            }
        }
        self.counts.add(SpanFate::GivenUp, batch.len());
    }

    async fn attempt(&mut self, http: &dyn HttpClient, body: Bytes) -> Attempt {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.config.endpoint.clone();
        request.headers_mut().clone_from(&self.config.headers);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        match http.send(request, Purpose::Traces).await {
            Ok(answer) if answer.status().is_success() => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes spans again");
                }
                Attempt::Taken
            }
            Ok(answer) => {
                let status = answer.status();
                self.log_once(&format!("status {}", status.as_u16()));
                // As the protocol has it: anything else is the fault of what was sent.
                let may_pass = matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                );
                let asked = asked_pause(answer.headers(), self.clock.now());
                if may_pass { Attempt::NotNow { asked } } else { Attempt::Refused }
            }
            Err(error) => {
                let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
                self.log_once(&format!("{error}: {cause}"));
                Attempt::NotNow { asked: None }
            }
        }
    }

    fn log_once(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(why, "the collector does not take spans; requests are not affected");
        }
    }

    /// A pause, give or take a quarter: instances that were turned away together do not come back together.
    fn varied(&self, pause: Duration) -> Duration {
        let mut random = [0; 1];
        self.entropy.fill(&mut random);
        pause * (384 + u32::from(random[0])) / 512
    }
}
