//! Collects spans as they begin and end. Runs inside of requests, so it never waits.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, Entropy};
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::exporter::{SpanCounts, SpanFate};
use super::sampler::Sampler;
use super::span::{Epoch, Place, Span, SpanId, TraceId, Words};

/// The layer of a subscriber that hands spans to the exporter. Filter it to [`SPANS`](bowerbird_core::SPANS).
pub struct SpanLayer {
    sampler: Sampler,
    queue: mpsc::Sender<Span>,
    counts: SpanCounts,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What is known of a span while it lasts; None when its trace is not kept.
struct Open(Option<Begun>);

struct Begun {
    place: Place,
    parent: Option<SpanId>,
    from_outside: bool,
    began: Duration,
    /// When its work last paused: a span is kept open by its children, which may outlive it.
    paused: Option<Duration>,
    words: Words,
}

impl SpanLayer {
    pub(super) fn new(
        sampler: Sampler,
        queue: mpsc::Sender<Span>,
        counts: SpanCounts,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { sampler, queue, counts, clock, entropy }
    }

    fn begin(&self, parent: Option<&Open>, words: Words) -> Open {
        let entropy = self.entropy.as_ref();
        let caller = words.caller;
        let (trace, parent, from_outside, epoch) = match parent {
            Some(Open(None)) => return Open(None),
            Some(Open(Some(Begun { place, .. }))) => (place.trace, Some(place.span), false, place.epoch),
            None => {
                let trace = caller.map_or_else(|| TraceId::random(entropy), |caller| caller.trace);
                if !self.sampler.keeps(trace, caller.map(|caller| caller.sampled)) {
                    return Open(None);
                }
                (trace, caller.map(|caller| caller.span), caller.is_some(), Epoch::now(self.clock.as_ref()))
            }
        };
        let place = Place { trace, span: SpanId::random(entropy), epoch };
        let began = self.clock.monotonic();
        Open(Some(Begun { place, parent, from_outside, began, paused: None, words }))
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut words = Words::default();
        attributes.record(&mut words);
        let parent = span.parent();
        let open = match &parent {
            Some(parent) => self.begin(parent.extensions().get(), words),
            None => self.begin(None, words),
        };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Open(Some(begun))) = span.extensions_mut().get_mut() {
            values.record(&mut begun.words);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Open(Some(begun))) = span.extensions_mut().get_mut() {
            begun.paused = Some(self.clock.monotonic());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open(Some(begun))) = span.extensions_mut().remove() else { return };
        let Begun { place, parent, from_outside, began, paused, words } = begun;
        let ended = paused.unwrap_or_else(|| self.clock.monotonic());
        let span = Span { place, parent, from_outside, name: span.metadata().name(), began, ended, words };
        if self.queue.try_send(span).is_err() {
            self.counts.add(SpanFate::Dropped, 1);
        }
    }
}
