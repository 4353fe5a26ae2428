//! The metrics that the service exports, in Prometheus' text format.
//!
//! One [`Metrics`] lives as long as the process; each configuration gets
//! [`CheckMeters`] of its own, whose counts end up in the same series. Label
//! values come from the configuration or from closed lists, never from a
//! request, so the number of series is bounded; those of providers and keys
//! that have left the configuration are removed.
//!
//! Each thread counts checks in memory of its own, and [`Metrics::encode`] adds
//! them up, because a counter that every core increments makes all of them wait
//! for each other.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
    core::Collector,
    process_collector::ProcessCollector,
    proto::{LabelPair, Metric, MetricFamily},
};

use crate::{
    decision::CacheResult,
    engine::Engine,
    limits::LimitResult,
    provider::{AnswerKind, oauth2::key_source::FetchResult},
    reason::Reason,
    settings::{AuthSettings, ProviderKind},
    time::UnixTime,
};

pub(crate) mod checks;
mod durations;
mod fetches;

pub use checks::{CheckMeters, InFlight};
pub use durations::{ByDuration, quantile};
pub use fetches::FetchMeter;

use checks::Shards;
use durations::Durations;

/// Every metric of the process. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    checks: IntCounterVec,
    durations: Durations,
    answers: IntCounterVec,
    token_cache: IntCounterVec,
    token_cache_entries: IntGauge,
    fetches: IntCounterVec,
    fetch_durations: HistogramVec,
    keys: IntGaugeVec,
    last_fetch_success: GaugeVec,
    reloads: IntCounterVec,
    last_reload_success: Gauge,
    key_expiry: GaugeVec,
    dropped_headers: IntCounterVec,
    limits: IntCounterVec,
    nearly_limited: IntCounterVec,
    limited_callers: IntGauge,
    max_limited_callers: IntGauge,
    in_flight: IntGauge,
    /// All checks so far, also those whose series was removed.
    totals: ByReason<AtomicU64>,
    /// Allowed and denied checks so far, by the name of the route; the empty name
    /// is that of the defaults.
    routes: Mutex<HashMap<String, Split>>,
    tracked: Mutex<Tracked>,
}

/// Allowed and denied checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Allowed ones.
    pub allowed: u64,
    /// Denied ones.
    pub denied: u64,
}

/// What was counted since the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Checks by reason.
    pub reasons: ByReason,
    /// Checks by duration.
    pub durations: ByDuration,
    /// Look-ups in the token cache, in the order of [`CacheResult::ALL`].
    pub cache: [u64; CacheResult::ALL.len()],
}

/// A number for each reason, in the order of [`Reason::ALL`].
pub type ByReason<N = u64> = [N; Reason::ALL.len()];

/// A number for each result of a limit, in the order of [`LimitResult::ALL`].
pub type ByLimit<N = u64> = [N; LimitResult::ALL.len()];

/// The providers and keys that have series, and the shards to collect.
#[derive(Default)]
struct Tracked {
    providers: HashSet<String>,
    plans: HashSet<String>,
    expiring_keys: HashSet<(String, String)>,
    /// Of every configuration that is still in use.
    shards: Vec<Weak<Shards>>,
}

/// A metric's name is invalid or registered twice: a defect of this module,
/// which its tests would have shown.
#[derive(Debug, thiserror::Error)]
#[error("the metrics can't be set up: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// The metrics of a program of this version, built from this revision.
    ///
    /// # Errors
    ///
    /// [`MetricsError`], which no input causes.
    pub fn new(version: &str, revision: &str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let new = Registrar(&registry);
        let build = new.int_gauges(
            "claimgate_build_info",
            "Version and source revision of the running program; always 1.",
            &["version", "revision"],
        )?;
        build.with_label_values(&[version, revision]).set(1);
        let families = Families {
            checks: new.counters(
                "claimgate_checks_total",
                "Checks by their outcome; the provider is the one that decided.",
                &["decision", "reason", "provider"],
            )?,
            durations: new.register(&Durations::new()?)?,
            answers: new.counters(
                "claimgate_provider_answers_total",
                "What providers said of the tokens shown to them.",
                &["provider", "answer"],
            )?,
            token_cache: new.counters(
                "claimgate_token_cache_total",
                "Look-ups of verified tokens.",
                &["result"],
            )?,
            token_cache_entries: new.register(&IntGauge::new(
                "claimgate_token_cache_entries",
                "Verified tokens that are remembered.",
            )?)?,
            fetches: new.counters(
                "claimgate_jwks_fetches_total",
                "Fetches of signing keys.",
                &["provider", "result"],
            )?,
            fetch_durations: new.register(&HistogramVec::new(
                HistogramOpts::new(
                    "claimgate_jwks_fetch_duration_seconds",
                    "How long fetches of signing keys took.",
                ),
                &["provider"],
            )?)?,
            keys: new.int_gauges("claimgate_jwks_keys", "Usable signing keys.", &["provider"])?,
            last_fetch_success: new.gauges(
                "claimgate_jwks_last_success_timestamp_seconds",
                "When signing keys were last fetched or confirmed; 0 is never.",
                &["provider"],
            )?,
            reloads: new.counters(
                "claimgate_config_reloads_total",
                "Loads of the configuration after the first.",
                &["result"],
            )?,
            last_reload_success: new.register(&Gauge::new(
                "claimgate_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was loaded.",
            )?)?,
            key_expiry: new.gauges(
                "claimgate_api_key_expiry_timestamp_seconds",
                "When API keys expire, those that do.",
                &["provider", "key"],
            )?,
            dropped_headers: new.counters(
                "claimgate_identity_headers_dropped_total",
                "Identity headers left off because their value is too long.",
                &["header"],
            )?,
            limits: new.counters(
                "claimgate_limits_total",
                "Requests of callers on a plan, by what became of its limit.",
                &["plan", "result"],
            )?,
            nearly_limited: new.counters(
                "claimgate_limits_nearly_total",
                "Requests within a limit that left less than a fifth of the caller's budget.",
                &["plan"],
            )?,
            limited_callers: new.register(&IntGauge::new(
                "claimgate_limited_callers",
                "Callers who have used some of their budget that has not refilled yet.",
            )?)?,
            max_limited_callers: new.register(&IntGauge::new(
                "claimgate_max_limited_callers",
                "How many callers can be counted at a time; 0 where none is.",
            )?)?,
            in_flight: new.register(&IntGauge::new(
                "claimgate_in_flight_checks",
                "Checks being decided right now.",
            )?)?,
            totals: [const { AtomicU64::new(0) }; _],
            routes: Mutex::default(),
            tracked: Mutex::default(),
            registry,
        };
        families.init_series();
        Ok(Self(Arc::new(families)))
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] if a metric can't be written, which no input causes.
    pub fn encode(&self) -> Result<String, MetricsError> {
        self.0.collect_counts();
        Ok(TextEncoder::new().encode_to_string(&self.0.registry.gather())?)
    }

    /// Every series, for those who export them in another way.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.0.collect_counts();
        self.0.registry.gather()
    }

    /// The configuration was loaded for the first time.
    pub fn config_loaded(&self, at: UnixTime) {
        self.0.last_reload_success.set(at.as_seconds());
    }

    /// A reload succeeded or failed.
    pub fn config_reloaded(&self, success: bool, at: UnixTime) {
        let result = if success { "success" } else { "failure" };
        self.0.reloads.with_label_values(&[result]).inc();
        if success {
            self.0.last_reload_success.set(at.as_seconds());
        }
    }

    /// Sets what `engine` holds right now: verified tokens and budgets.
    pub fn observe(&self, engine: &Engine) {
        self.set_token_cache_entries(engine.token_cache().len());
        let counters = engine.limits().filter(|limits| limits.mode().counts_here());
        let counters = counters.map(|limits| limits.counters());
        self.0.limited_callers.set(saturated(counters.map_or(0, |all| all.callers())));
        self.0.max_limited_callers.set(saturated(counters.map_or(0, |all| all.capacity())));
    }

    /// Sets how many verified tokens are cached.
    pub fn set_token_cache_entries(&self, entries: usize) {
        self.0.token_cache_entries.set(saturated(entries));
    }

    /// Sets when the API keys of these settings expire. The series of other keys
    /// are removed.
    pub fn export_key_expiries(&self, auth: &AuthSettings) {
        self.set_key_expiries(auth.providers.iter().flat_map(|provider| {
            let keys = match &provider.kind {
                ProviderKind::ApiKey(keys) => keys.as_slice(),
                ProviderKind::OAuth2(_) | ProviderKind::Grpc(_) => &[],
            };
            let name = provider.name.as_str();
            keys.iter().filter_map(move |key| Some((name, key.name.as_str(), key.expires_at?)))
        }));
    }

    /// Sets the API keys that expire, as `(provider, key name, when)`. The series
    /// of other keys are removed.
    pub fn set_key_expiries<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a str, &'a str, UnixTime)>,
    ) {
        let mut expiring = HashSet::new();
        for (provider, key, at) in keys {
            self.0.key_expiry.with_label_values(&[provider, key]).set(at.as_seconds());
            expiring.insert((provider.to_owned(), key.to_owned()));
        }
        let mut tracked = self.0.tracked();
        for (provider, key) in tracked.expiring_keys.difference(&expiring) {
            // It may have been removed already.
            let _ = self.0.key_expiry.remove_label_values(&[provider, key]);
        }
        tracked.expiring_keys = expiring;
    }

    /// What was counted since the start of the process.
    pub fn totals(&self) -> Totals {
        self.0.collect_counts();
        let cached =
            |result: CacheResult| self.0.token_cache.with_label_values(&[result.as_str()]).get();
        Totals {
            reasons: self.0.totals.each_ref().map(|total| total.load(Relaxed)),
            durations: self.0.durations.totals(),
            cache: CacheResult::ALL.map(cached),
        }
    }

    /// The checks of each route since the start of the process; the empty name
    /// has those that no route matched.
    pub fn checks_by_route(&self) -> HashMap<String, Split> {
        self.0.collect_counts();
        self.0.routes().clone()
    }

    /// The checks that each provider decided since the start of the process.
    pub fn checks_by_provider(&self) -> HashMap<String, Split> {
        self.0.collect_counts();
        let mut splits: HashMap<String, Split> = HashMap::new();
        for metric in self.0.checks.collect().iter().flat_map(MetricFamily::get_metric) {
            let label = |name: &str| label(metric, name);
            let split = splits.entry(label("provider").to_owned()).or_default();
            let count = metric.get_counter().get_value() as u64;
            match label("decision") {
                "allow" => split.allowed += count,
                _ => split.denied += count,
            }
        }
        splits
    }

    /// What became of the limits of each plan since the start of the process, or
    /// since the plan is configured, in the order of [`LimitResult::ALL`]. The
    /// empty name has callers that no plan limits.
    pub fn limits_by_plan(&self) -> HashMap<String, ByLimit> {
        self.0.collect_counts();
        let mut plans: HashMap<String, ByLimit> = HashMap::new();
        for metric in self.0.limits.collect().iter().flat_map(MetricFamily::get_metric) {
            let label = |name: &str| label(metric, name);
            let at = LimitResult::ALL.iter().position(|it| it.as_str() == label("result"));
            if let Some(at) = at {
                let counts = plans.entry(label("plan").to_owned()).or_default();
                counts[at] += metric.get_counter().get_value() as u64;
            }
        }
        plans
    }

    /// The meter of a provider that fetches keys.
    pub fn fetch_meter(&self, provider: &str) -> FetchMeter {
        FetchMeter::new(&self.0, provider)
    }
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found.map(LabelPair::value).unwrap_or_default()
}

impl Families {
    fn routes(&self) -> MutexGuard<'_, HashMap<String, Split>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exports series as 0 before they count, so that a first increment is visible
    /// as one.
    fn init_series(&self) {
        for result in ["success", "failure"] {
            self.reloads.with_label_values(&[result]);
        }
        for result in CacheResult::ALL {
            self.token_cache.with_label_values(&[result.as_str()]);
        }
        for reason in [Reason::Public, Reason::MissingToken, Reason::Internal] {
            self.checks.with_label_values(&[checks::decision_of(reason), reason.as_str(), ""]);
        }
    }

    /// Locks what is tracked. A panic leaves it consistent.
    fn tracked(&self) -> MutexGuard<'_, Tracked> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tracks the configuration that becomes active: exports series of its
    /// providers and removes those of all others.
    fn track(&self, shards: &Arc<Shards>) {
        self.collect_counts();
        let mut tracked = self.tracked();
        let providers: HashSet<_> = shards.providers.iter().cloned().collect();
        for gone in tracked.providers.difference(&providers) {
            self.remove_provider(gone);
        }
        for provider in &providers {
            for answer in AnswerKind::ALL {
                self.answers.with_label_values(&[provider.as_str(), answer.as_str()]);
            }
            self.checks.with_label_values(&["allow", Reason::Ok.as_str(), provider.as_str()]);
        }
        tracked.providers = providers;
        let plans: HashSet<_> = shards.plans.iter().cloned().collect();
        for gone in tracked.plans.difference(&plans) {
            for result in LimitResult::ALL {
                let _ = self.limits.remove_label_values(&[gone, result.as_str()]);
            }
            let _ = self.nearly_limited.remove_label_values(&[gone]);
        }
        for plan in &plans {
            // A counter that begins with its first request hides that one from
            // `increase`, and so from the alerts.
            for result in LimitResult::ALL {
                self.limits.with_label_values(&[plan.as_str(), result.as_str()]);
            }
            self.nearly_limited.with_label_values(&[plan.as_str()]);
        }
        if !plans.is_empty() {
            self.limits.with_label_values(&["", LimitResult::UnknownPlan.as_str()]);
        }
        tracked.plans = plans;
        tracked.shards.push(Arc::downgrade(shards));
    }

    fn remove_provider(&self, name: &str) {
        // A series that was never counted does not exist; that is not an error.
        for reason in Reason::ALL {
            let _ = self.checks.remove_label_values(&[
                checks::decision_of(*reason),
                reason.as_str(),
                name,
            ]);
        }
        for answer in AnswerKind::ALL {
            let _ = self.answers.remove_label_values(&[name, answer.as_str()]);
        }
        for result in FetchResult::ALL {
            let _ = self.fetches.remove_label_values(&[name, result.as_str()]);
        }
        let _ = self.fetch_durations.remove_label_values(&[name]);
        let _ = self.keys.remove_label_values(&[name]);
        let _ = self.last_fetch_success.remove_label_values(&[name]);
    }

    /// Adds the counts since the last call to the series.
    fn collect_counts(&self) {
        let mut tracked = self.tracked();
        let mut in_flight = 0;
        tracked.shards.retain(|shards| shards.strong_count() > 0);
        for shards in tracked.shards.iter().filter_map(Weak::upgrade) {
            in_flight += self.collect_from(&shards, &tracked);
        }
        self.in_flight.set(in_flight);
    }
}

/// Makes and registers metrics.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: &C) -> Result<C, MetricsError> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric.clone())
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        self.register(&IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        self.register(&GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn int_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, MetricsError> {
        self.register(&IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
}

fn saturated(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
