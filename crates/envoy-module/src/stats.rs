//! The metrics, in Envoy's statistics as well.
//!
//! They are counted as in the service and carried over from time to time, so
//! that a request pays for neither a look-up of names nor a shared counter.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use claimgate::metrics::Metrics;
use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

use crate::abi::{ConfigContext, StatId, Statistics};

/// What every configuration defines: a name and its labels.
///
/// Envoy's histograms hold whole numbers in buckets of Envoy's own, so the
/// buckets of ours are counters, as they are in Prometheus' text. Their sums
/// are not whole numbers and are left out.
const COUNTERS: &[(&str, &[&str])] = &[
    ("claimgate_checks_total", &["decision", "reason", "provider"]),
    ("claimgate_check_duration_seconds_bucket", &["decision", "le"]),
    ("claimgate_check_duration_seconds_count", &["decision"]),
    ("claimgate_provider_answers_total", &["provider", "answer"]),
    ("claimgate_token_cache_total", &["result"]),
    ("claimgate_jwks_fetches_total", &["provider", "result"]),
    ("claimgate_jwks_fetch_duration_seconds_bucket", &["provider", "le"]),
    ("claimgate_jwks_fetch_duration_seconds_count", &["provider"]),
    ("claimgate_config_reloads_total", &["result"]),
    ("claimgate_identity_headers_dropped_total", &["header"]),
    ("claimgate_limits_total", &["plan", "result"]),
    ("claimgate_limits_nearly_total", &["plan"]),
];

const GAUGES: &[(&str, &[&str])] = &[
    ("claimgate_token_cache_entries", &[]),
    ("claimgate_limited_callers", &[]),
    ("claimgate_max_limited_callers", &[]),
    ("claimgate_jwks_keys", &["provider"]),
    ("claimgate_jwks_last_success_timestamp_seconds", &["provider"]),
    ("claimgate_config_last_reload_success_timestamp_seconds", &[]),
    ("claimgate_api_key_expiry_timestamp_seconds", &["provider", "key"]),
    ("claimgate_in_flight_checks", &[]),
    ("claimgate_build_info", &["version", "revision"]),
];

/// Those of which several configurations have the sum. Of the others they
/// have the lowest: alerts are about what is missing, or long ago.
const SUMS: &[&str] = &[
    "claimgate_token_cache_entries",
    "claimgate_limited_callers",
    "claimgate_max_limited_callers",
    "claimgate_in_flight_checks",
];

/// How far the counters of a configuration have been carried over, whichever
/// filter did it.
#[derive(Default)]
pub(crate) struct Carried(Mutex<HashMap<Series, u64>>);

/// A name and its labels' values, in order.
type Series = (&'static str, Vec<String>);

/// The metrics as they were a moment ago, gathered once for all filters that
/// carry them over at about the same time.
#[derive(Default)]
pub(crate) struct Gathered(Mutex<Option<(Instant, Arc<[MetricFamily]>)>>);

/// Less than the time between two turns of one filter.
const A_MOMENT: Duration = Duration::from_millis(500);

impl Gathered {
    /// What `metrics` hold, or held a moment ago.
    pub(crate) fn of(&self, metrics: &Metrics) -> Arc<[MetricFamily]> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((at, families)) if at.elapsed() < A_MOMENT => Arc::clone(families),
            _ => {
                let families: Arc<[_]> = metrics.gather().into();
                *latest = Some((Instant::now(), Arc::clone(&families)));
                families
            }
        }
    }
}

/// The statistics of one filter's configuration.
pub(crate) struct Stats {
    counters: Vec<Defined>,
    gauges: Vec<Defined>,
    /// The counters that this filter's statistics hold.
    held: Mutex<HashSet<Series>>,
    is_due: AtomicBool,
}

struct Defined {
    name: &'static str,
    labels: &'static [&'static str],
    id: StatId,
}

impl Stats {
    /// Defines all of them.
    pub(crate) fn define(envoy: &ConfigContext<'_>) -> Self {
        let defined = |(name, labels): &(&'static str, &'static [&'static str]), id| {
            Some(Defined { name, labels, id: id? })
        };
        let counters = COUNTERS.iter();
        let counters = counters.filter_map(|of| defined(of, envoy.define_counter(of.0, of.1)));
        let gauges = GAUGES.iter();
        let gauges = gauges.filter_map(|of| defined(of, envoy.define_gauge(of.0, of.1)));
        Self {
            counters: counters.collect(),
            gauges: gauges.collect(),
            held: Mutex::default(),
            is_due: AtomicBool::new(false),
        }
    }

    /// Leaves the carrying over to the next request.
    pub(crate) fn set_due(&self) {
        self.is_due.store(true, Relaxed);
    }

    /// Whether it was left to this request.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.is_due.load(Relaxed) && self.is_due.swap(false, Relaxed)
    }

    /// Sets the gauges to what `all` configurations of this process come to:
    /// Envoy has one gauge for all of them, and does not tell which of them
    /// are behind one name.
    pub(crate) fn set_gauges(&self, all: &[Arc<[MetricFamily]>], to: &impl Statistics) {
        let mut merged: HashMap<(usize, Vec<&str>), u64> = HashMap::new();
        for family in all.iter().flat_map(|families| families.iter()) {
            let is_gauge = family.get_field_type() == MetricType::GAUGE;
            for metric in family.get_metric().iter().filter(|_| is_gauge) {
                let found = find(&self.gauges, family.name(), &labels_of(metric));
                let Some((gauge, values)) = found else { continue };
                let value = whole(metric.get_gauge().get_value());
                let merge = |other: u64| match SUMS.contains(&gauge.name) {
                    true => other.saturating_add(value),
                    false => other.min(value),
                };
                let number = self.gauges.iter().position(|it| it.name == gauge.name);
                let entry = merged.entry((number.unwrap_or_default(), values));
                entry.and_modify(|other| *other = merge(*other)).or_insert(value);
            }
        }
        for ((number, values), value) in merged {
            if let Some(gauge) = self.gauges.get(number) {
                to.set(gauge.id, &values, value);
            }
        }
    }

    /// Carries over what was counted since the last time.
    pub(crate) fn carry_over(
        &self,
        families: &[MetricFamily],
        carried: &Carried,
        to: &impl Statistics,
    ) {
        let mut carried = carried.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = |name: &str, labels: &[(&str, &str)], total: u64| {
            let Some((counter, values)) = find(&self.counters, name, labels) else { return };
            let series = (counter.name, values.iter().map(|value| (*value).to_owned()).collect());
            // Once even if nothing was counted: a counter lives as long as
            // other statistics hold it, and those of an earlier listener
            // may be about to go.
            let is_new = held.insert(series.clone());
            let before = carried.insert(series, total).unwrap_or(0);
            let more = total.saturating_sub(before);
            if more > 0 || is_new {
                to.add(counter.id, &values, more);
            }
        };
        for family in families {
            for metric in family.get_metric() {
                let labels = labels_of(metric);
                let name = family.name();
                match family.get_field_type() {
                    MetricType::COUNTER => {
                        count(name, &labels, whole(metric.get_counter().get_value()));
                    }
                    MetricType::HISTOGRAM => {
                        for_each_bucket(metric.get_histogram(), |le, total| {
                            let mut labels = labels.clone();
                            labels.push(("le", le));
                            count(&format!("{name}_bucket"), &labels, total);
                        });
                        let total = metric.get_histogram().get_sample_count();
                        count(&format!("{name}_count"), &labels, total);
                    }
                    MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => {}
                }
            }
        }
    }
}

/// The definition of this name, and the labels' values in its order.
fn find<'d, 'v>(
    defined: &'d [Defined],
    name: &str,
    labels: &[(&str, &'v str)],
) -> Option<(&'d Defined, Vec<&'v str>)> {
    let found = defined.iter().find(|defined| defined.name == name)?;
    let value = |label: &&str| labels.iter().find(|(name, _)| name == label).map(|(_, v)| *v);
    Some((found, found.labels.iter().map(value).collect::<Option<_>>()?))
}

fn labels_of(metric: &Metric) -> Vec<(&str, &str)> {
    metric.get_label().iter().map(|label| (label.name(), label.value())).collect()
}

fn for_each_bucket(histogram: &Histogram, mut each: impl FnMut(&str, u64)) {
    for bucket in histogram.get_bucket() {
        each(&bucket.upper_bound().to_string(), bucket.cumulative_count());
    }
    each("+Inf", histogram.get_sample_count());
}

/// Envoy knows whole numbers alone.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Default)]
    struct Recorded(RefCell<Vec<(usize, Vec<String>, u64)>>);

    /// Keeps gauges alone.
    #[derive(Default)]
    struct Set(RefCell<Vec<(&'static str, u64)>>);

    impl Statistics for Set {
        fn add(&self, _: StatId, _: &[&str], _: u64) {}

        fn set(&self, gauge: StatId, _: &[&str], value: u64) {
            self.0.borrow_mut().push((GAUGES[gauge.number()].0, value));
        }
    }

    impl Statistics for Recorded {
        fn add(&self, counter: StatId, labels: &[&str], count: u64) {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            self.0.borrow_mut().push((counter.number(), labels, count));
        }

        fn set(&self, _: StatId, _: &[&str], _: u64) {}
    }

    fn stats() -> Stats {
        let defined = |list: &[(&'static str, &'static [&'static str])]| {
            let with_ids = list.iter().enumerate();
            with_ids
                .map(|(id, (name, labels))| Defined { name, labels, id: StatId::of(id) })
                .collect()
        };
        Stats {
            counters: defined(COUNTERS),
            gauges: defined(GAUGES),
            held: Mutex::default(),
            is_due: AtomicBool::new(false),
        }
    }

    #[test]
    fn what_was_counted_is_carried_over_once_whichever_instance_comes_first() {
        let metrics = Metrics::new("1", "r").unwrap();
        let carried = Carried::default();
        let reloads = COUNTERS.iter().position(|of| of.0 == "claimgate_config_reloads_total");
        let added = |recorded: &Recorded| {
            let recorded = recorded.0.borrow();
            let of = |(id, labels, _): &&(usize, Vec<String>, u64)| {
                Some(*id) == reloads && labels == &["success"]
            };
            recorded.iter().filter(of).map(|(.., count)| *count).collect::<Vec<_>>()
        };
        let (first, second) = (stats(), stats());
        let now = claimgate_core::time::UnixTime::now();
        let cases = [
            (&first, 2, vec![2]),
            (&first, 0, vec![]),
            (&second, 0, vec![0]),
            (&second, 1, vec![1]),
        ];
        for (stats, reloads, expected) in cases {
            (0..reloads).for_each(|_| metrics.config_reloaded(true, now));
            let recorded = Recorded::default();
            stats.carry_over(&metrics.gather(), &carried, &recorded);
            assert_eq!(added(&recorded), expected);
        }
    }

    #[test]
    fn several_configurations_share_their_gauges() {
        let all = [(3, 100.0), (4, 50.0)].map(|(entries, at)| {
            let metrics = Metrics::new("1", "r").unwrap();
            metrics.set_token_cache_entries(entries);
            metrics.config_loaded(claimgate_core::time::UnixTime::from_seconds(at));
            Arc::<[_]>::from(metrics.gather())
        });
        let set = Set::default();
        stats().set_gauges(&all, &set);
        let set = set.0.borrow();
        for expected in [
            ("claimgate_token_cache_entries", 7),
            ("claimgate_config_last_reload_success_timestamp_seconds", 50),
            ("claimgate_build_info", 1),
        ] {
            let found: Vec<_> = set.iter().filter(|(name, _)| *name == expected.0).collect();
            assert_eq!(found, [&expected]);
        }
    }

    #[test]
    fn every_metric_has_its_place() {
        let metrics = Metrics::new("1", "r").unwrap();
        for family in metrics.gather() {
            let name = family.name();
            let is_known = |of: &&(&str, &[&str])| of.0 == name || of.0 == format!("{name}_count");
            let known = COUNTERS.iter().chain(GAUGES).any(|of| is_known(&of));
            assert!(known || name.starts_with("process_"), "{name}");
        }
    }
}
