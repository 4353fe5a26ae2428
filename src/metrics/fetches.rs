//! Fetches of signing keys.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::{Families, saturated};
use crate::{provider::oauth2::key_source::FetchResult, time::UnixTime};

/// Counts the key fetches of one provider.
#[derive(Clone, Debug)]
pub struct FetchMeter {
    /// By [`FetchResult`].
    fetches: [IntCounter; 3],
    duration: Histogram,
    keys: IntGauge,
    last_success: Gauge,
}

impl FetchMeter {
    pub(super) fn new(families: &Families, provider: &str) -> Self {
        Self {
            fetches: FetchResult::ALL
                .map(|result| families.fetches.with_label_values(&[provider, result.as_str()])),
            duration: families.fetch_durations.with_label_values(&[provider]),
            keys: families.keys.with_label_values(&[provider]),
            last_success: families.last_fetch_success.with_label_values(&[provider]),
        }
    }

    /// A fetch ended at the moment `at`, after `duration`; from now on there
    /// are `keys` usable keys, whether it succeeded or not.
    pub fn fetched(&self, result: FetchResult, duration: Duration, keys: usize, at: UnixTime) {
        self.fetches[result as usize].inc();
        self.duration.observe(duration.as_secs_f64());
        self.set_keys(keys);
        if result != FetchResult::Failure {
            self.last_success.set(at.as_seconds());
        }
    }

    /// How many usable keys there are, when that changes without a fetch.
    pub fn set_keys(&self, keys: usize) {
        self.keys.set(saturated(keys));
    }
}
