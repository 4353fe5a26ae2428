//! Counts checks without contention between cores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use claimgate_core::per_thread::PerThread;

use super::{Families, Metrics, Tracked, durations::Timings};
use crate::{
    decision::{CacheResult, Decision, ProviderId, Verdict},
    engine::Engine,
    limits::{LimitResult, Limited, Limits},
    provider::AnswerKind,
    reason::Reason,
};

/// Counts the checks of one configuration.
///
/// Counting is a handful of additions to memory of the thread's own;
/// [`Metrics::encode`] adds them up, and so does dropping this.
pub struct CheckMeters {
    shards: Arc<Shards>,
    families: Arc<Families>,
}

impl CheckMeters {
    /// The meters of the configuration that is about to become active.
    ///
    /// Removes the series of providers that `engine` does not have, so it must
    /// come after every step that may fail.
    pub fn new(metrics: &Metrics, engine: &Engine) -> Self {
        let providers = engine.providers().map(|provider| provider.name().to_owned());
        let routes = engine.route_names().map(String::from);
        let plans = engine.limits().map_or(&[][..], Limits::plans).iter();
        let plans = plans.map(|plan| plan.name.clone());
        Self::of(metrics, Shards::new(providers.collect(), routes.collect(), plans.collect()))
    }

    /// As [`Self::new`], for providers of these names.
    pub fn of_providers<'a>(metrics: &Metrics, names: impl IntoIterator<Item = &'a str>) -> Self {
        let providers = names.into_iter().map(String::from).collect();
        Self::of(metrics, Shards::new(providers, Vec::new(), Vec::new()))
    }

    fn of(metrics: &Metrics, shards: Shards) -> Self {
        let shards = Arc::new(shards);
        metrics.0.track(&shards);
        Self { shards, families: Arc::clone(&metrics.0) }
    }

    /// Counts a check as in flight until the result is dropped.
    pub fn in_flight(&self) -> InFlight<'_> {
        let count = &self.shards.by_thread.own().in_flight;
        count.fetch_add(1, Relaxed);
        InFlight(count)
    }

    /// Counts a decided check that took `elapsed`.
    pub fn record(&self, decision: &Decision<'_>, elapsed: Duration) {
        let shard = self.shards.by_thread.own();
        let slot = decision.provider.map_or(0, |ProviderId(id)| usize::from(id) + 1);
        shard.checks.add(slot * Reason::ALL.len() + decision.reason as usize);
        for (ProviderId(id), answer) in &decision.answers {
            shard.answers.add(usize::from(*id) * AnswerKind::ALL.len() + *answer as usize);
        }
        let denied = usize::from(matches!(decision.verdict, Verdict::Deny(_)));
        shard.routes.add(decision.route.map_or(0, |route| route.number) * 2 + denied);
        if let Some(result) = decision.cache {
            shard.cache_results.add(result as usize);
        }
        if let Some(limited) = &decision.limited {
            shard.limited(limited);
        }
        shard.timings[denied].add(elapsed);
        let dropped = decision.caller.iter().flat_map(|caller| &caller.identity.dropped);
        for header in dropped {
            self.families.dropped_headers.with_label_values(&[&**header]).inc();
        }
    }
}

/// Keeps the counts since the last [`Metrics::encode`].
impl Drop for CheckMeters {
    fn drop(&mut self) {
        let tracked = self.families.tracked();
        self.families.collect_from(&self.shards, &tracked);
    }
}

/// See [`CheckMeters::in_flight`].
#[derive(Debug)]
pub struct InFlight<'a>(&'a AtomicI64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The counts of one configuration, sharded by thread.
pub(super) struct Shards {
    /// The providers' names, by [`ProviderId`].
    pub(super) providers: Vec<String>,
    /// The routes' names, by their number less 1.
    routes: Vec<String>,
    /// The plans' names, by position.
    pub(super) plans: Vec<String>,
    by_thread: PerThread<Shard>,
}

struct Shard {
    /// By provider (0: no provider), then by reason.
    checks: Counts,
    /// By provider, then by answer.
    answers: Counts,
    cache_results: Counts,
    /// By route (0: the defaults), then allowed, denied.
    routes: Counts,
    /// By plan (0: no plan), then by result.
    limits: Counts,
    /// By plan.
    nearly_limited: Counts,
    /// Of the allowed ones, of the denied ones.
    timings: [Timings; 2],
    in_flight: AtomicI64,
}

impl Shards {
    fn new(providers: Vec<String>, routes: Vec<String>, plans: Vec<String>) -> Self {
        let shard = || Shard {
            checks: Counts::new((providers.len() + 1) * Reason::ALL.len()),
            answers: Counts::new(providers.len() * AnswerKind::ALL.len()),
            cache_results: Counts::new(CacheResult::ALL.len()),
            routes: Counts::new((routes.len() + 1) * 2),
            limits: Counts::new((plans.len() + 1) * LimitResult::ALL.len()),
            nearly_limited: Counts::new(plans.len()),
            timings: Default::default(),
            in_flight: AtomicI64::new(0),
        };
        Self { by_thread: PerThread::new(shard), providers, routes, plans }
    }
}

impl Shard {
    fn limited(&self, limited: &Limited<'_>) {
        let slot = limited.plan.map_or(0, |plan| plan.position + 1);
        let add = |result| self.limits.add(slot * LimitResult::ALL.len() + result as usize);
        if let Some(outcome) = &limited.outcome {
            add(outcome.result());
        }
        if limited.is_unknown {
            add(LimitResult::UnknownPlan);
        }
        if let Some(plan) = limited.plan.filter(|_| limited.is_nearly_over) {
            self.nearly_limited.add(plan.position);
        }
    }
}

impl Families {
    /// Moves the counts of one configuration to the series, except for providers
    /// that are no longer exported; returns how many of its checks are in flight.
    pub(super) fn collect_from(&self, shards: &Shards, tracked: &Tracked) -> i64 {
        for shard in shards.by_thread.iter() {
            for (cell, count) in shard.checks.take() {
                let reason = Reason::ALL[cell % Reason::ALL.len()];
                self.totals[reason as usize].fetch_add(count, Relaxed);
                let provider = match cell / Reason::ALL.len() {
                    0 => "",
                    slot => shards.providers[slot - 1].as_str(),
                };
                if provider.is_empty() || tracked.providers.contains(provider) {
                    let labels = [decision_of(reason), reason.as_str(), provider];
                    self.checks.with_label_values(&labels).inc_by(count);
                }
            }
            for (cell, count) in shard.answers.take() {
                let answer = AnswerKind::ALL[cell % AnswerKind::ALL.len()];
                let provider = shards.providers[cell / AnswerKind::ALL.len()].as_str();
                if tracked.providers.contains(provider) {
                    self.answers.with_label_values(&[provider, answer.as_str()]).inc_by(count);
                }
            }
            for (cell, count) in shard.cache_results.take() {
                self.token_cache
                    .with_label_values(&[CacheResult::ALL[cell].as_str()])
                    .inc_by(count);
            }
            for (cell, count) in shard.routes.take() {
                let name = (cell / 2).checked_sub(1).map_or("", |at| shards.routes[at].as_str());
                let mut routes = self.routes();
                let split = routes.entry(name.to_owned()).or_default();
                match cell % 2 {
                    0 => split.allowed += count,
                    _ => split.denied += count,
                }
            }
            for (cell, count) in shard.limits.take() {
                let result = LimitResult::ALL[cell % LimitResult::ALL.len()];
                let plan = match cell / LimitResult::ALL.len() {
                    0 => "",
                    slot => shards.plans[slot - 1].as_str(),
                };
                if plan.is_empty() || tracked.plans.contains(plan) {
                    self.limits.with_label_values(&[plan, result.as_str()]).inc_by(count);
                }
            }
            for (cell, count) in shard.nearly_limited.take() {
                let plan = shards.plans[cell].as_str();
                if tracked.plans.contains(plan) {
                    self.nearly_limited.with_label_values(&[plan]).inc_by(count);
                }
            }
            self.durations.collect_from(&shard.timings);
        }
        shards.by_thread.iter().map(|shard| shard.in_flight.load(Relaxed)).sum()
    }
}

/// The decision that a reason belongs to; each belongs to exactly one.
pub(crate) fn decision_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Ok | Reason::Public | Reason::Disabled => "allow",
        _ => "deny",
    }
}

/// Counts by position.
struct Counts(Box<[AtomicU64]>);

impl Counts {
    fn new(length: usize) -> Self {
        Self((0..length).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn add(&self, cell: usize) {
        if let Some(count) = self.0.get(cell) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Takes the counts that are not 0 and resets them.
    fn take(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counted = self.0.iter().enumerate().filter(|(_, count)| count.load(Relaxed) > 0);
        counted.map(|(cell, count)| (cell, count.swap(0, Relaxed)))
    }
}
