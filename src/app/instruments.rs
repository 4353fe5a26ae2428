//! Metrics and traces, which outlive every configuration.

use crate::{
    metrics::Metrics,
    provider::oauth2::key_source::{FetchObserver, FetchReport},
    time::UnixTime,
    traces::TracerHandle,
};

/// Where checks and fetches are recorded.
#[derive(Clone)]
pub struct Instruments {
    /// Counts.
    pub metrics: Metrics,
    /// Records spans.
    pub tracer: TracerHandle,
}

impl From<Metrics> for Instruments {
    fn from(metrics: Metrics) -> Self {
        Self { metrics, tracer: TracerHandle::default() }
    }
}

/// Counts and traces fetches.
impl FetchObserver for Instruments {
    fn fetched(&self, report: &FetchReport<'_>) {
        if let Some(tracer) = self.tracer.load() {
            tracer.fetched(report);
        }
        for provider in report.providers {
            let meter = self.metrics.fetch_meter(provider);
            meter.fetched(report.result, report.duration, report.keys, UnixTime::now());
        }
    }

    fn loaded(&self, provider: &str, keys: usize) {
        self.metrics.fetch_meter(provider).set_keys(keys);
    }

    fn withdrawn(&self, provider: &str) {
        self.metrics.fetch_meter(provider).set_keys(0);
    }
}
