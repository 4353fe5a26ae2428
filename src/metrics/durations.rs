//! `claimgate_check_duration_seconds`: a sharded histogram, which the library
//! does not offer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Upper bounds in nanoseconds: from a cached token to Envoy's timeout.
const BOUNDS: [u64; 17] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    150_000_000,
    250_000_000,
    1_000_000_000,
];

/// A number for each bucket of durations; the last has no bound.
pub type ByDuration = [u64; BOUNDS.len() + 1];

/// The duration, in microseconds, that this share of the checks did not exceed;
/// `None` without checks, or if it was more than a second.
pub fn quantile(counts: &ByDuration, share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let rank = ((total as f64 * share).ceil() as u64).max(1);
    let mut below = 0;
    let bucket = counts.iter().position(|count| {
        below += count;
        below >= rank
    });
    BOUNDS.get(bucket?).map(|nanoseconds| nanoseconds / 1000)
}

/// How long checks took, by bucket; the last has no bound.
#[derive(Debug, Default)]
pub(super) struct Timings {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Timings {
    /// Counts a check.
    #[inline]
    pub(super) fn add(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    fn take_from(&self, other: &Self) {
        for (sum, part) in self.cells().zip(other.cells()) {
            sum.fetch_add(part.swap(0, Relaxed), Relaxed);
        }
    }

    fn cells(&self) -> impl Iterator<Item = &AtomicU64> {
        self.buckets.iter().chain([&self.nanoseconds])
    }

    fn histogram(&self) -> Histogram {
        let mut total = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, count)| {
            total += count.load(Relaxed);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e9);
            bucket.set_cumulative_count(total);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        total += self.buckets[BOUNDS.len()].load(Relaxed);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(self.nanoseconds.load(Relaxed) as f64 / 1e9);
        histogram
    }
}

/// The family, of all configurations together.
#[derive(Clone, Debug)]
pub(super) struct Durations(Arc<(Desc, [Timings; 2])>);

impl Durations {
    const NAME: &str = "claimgate_check_duration_seconds";
    const HELP: &str = "How long checks took to decide.";
    const LABEL: &str = "decision";

    pub(super) fn new() -> prometheus::Result<Self> {
        let (name, help) = (Self::NAME.into(), Self::HELP.into());
        let desc = Desc::new(name, help, vec![Self::LABEL.into()], HashMap::new())?;
        Ok(Self(Arc::new((desc, Default::default()))))
    }

    /// How many checks took how long so far: of the allowed and the denied ones
    /// together, by bucket.
    pub(super) fn totals(&self) -> ByDuration {
        let [allowed, denied] = &self.0.1;
        let mut totals = [0; BOUNDS.len() + 1];
        for (total, (a, d)) in totals.iter_mut().zip(allowed.buckets.iter().zip(&denied.buckets)) {
            *total = a.load(Relaxed) + d.load(Relaxed);
        }
        totals
    }

    /// Moves a shard's counts here: of the allowed checks, of the denied ones.
    pub(super) fn collect_from(&self, shard: &[Timings; 2]) {
        for (sum, part) in self.0.1.iter().zip(shard) {
            sum.take_from(part);
        }
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.0]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = ["allow", "deny"].into_iter().zip(&self.0.1).map(|(decision, timings)| {
            let mut label = LabelPair::default();
            label.set_name(Self::LABEL.into());
            label.set_value(decision.into());
            let mut metric = Metric::from_label(vec![label]);
            metric.set_histogram(timings.histogram());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(Self::NAME.into());
        family.set_help(Self::HELP.into());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}
