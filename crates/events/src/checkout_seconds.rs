//! The time of checkouts as a histogram that takes two kinds: those that read the store, each with its time; and those
//! answered from memory, of which the vault keeps nothing but their number. They are far below the first bound, so that
//! the buckets are right; the sum leaves them out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The bounds of the buckets; above the last one there is another.
const BOUNDS: [f64; 12] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// The histogram. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckoutSeconds(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    from_memory: AtomicU64,
}

impl CheckoutSeconds {
    /// Counts one that read the store.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.0.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.0.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Says how many were answered from memory, in all.
    pub(crate) fn set_from_memory(&self, number: u64) {
        // Two scrapes at once: the count of a histogram never goes down.
        self.0.from_memory.fetch_max(number, Ordering::Relaxed);
    }
}

impl EncodeMetric for CheckoutSeconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = &self.0;
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let mut buckets: Vec<(f64, u64)> =
            bounds.zip(&figures.buckets).map(|(bound, number)| (bound, number.load(Ordering::Relaxed))).collect();
        buckets[0].1 += figures.from_memory.load(Ordering::Relaxed);
        let count = buckets.iter().map(|(_, number)| number).sum();
        let sum = Duration::from_nanos(figures.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
