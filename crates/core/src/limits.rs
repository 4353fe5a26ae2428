//! Limits for each caller: which plan it is on, and whether its budget holds
//! enough for one more request.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use ahash::AHashMap;
use serde_json::{Value, json};
use smol_str::{SmolStr, ToSmolStr};

use crate::{
    allowance::{Allowance, PlanAt},
    claims::{ClaimPath, is_exact},
    principal::Principal,
    sentence::{Name, Sentence},
    settings::{Amount, LimitBy, LimitMode, LimitSettings, PlanSettings},
};

mod counters;
mod gcra;

pub use counters::Counters;

use gcra::Gcra;

/// The plans of one configuration, and the counters of this process.
pub struct Limits {
    plans: Vec<Plan>,
    by_name: AHashMap<String, usize>,
    default_plan: Option<usize>,
    plan_claim: ClaimPath,
    by: LimitBy,
    mode: LimitMode,
    counters: Arc<Counters>,
}

/// What callers on one plan may ask for.
#[derive(Debug)]
pub struct Plan {
    /// Its unique name.
    pub name: String,
    /// Its place among the plans.
    pub position: usize,
    /// Requests.
    pub requests: Option<Amount>,
    /// Tokens of a language model.
    pub tokens: Option<Amount>,
    /// What the metadata says of it: for `requests` and `tokens` what Envoy
    /// reads as a descriptor's limit, `requests_per_unit` and `unit`.
    pub(crate) told: Value,
    /// The limit of requests as `RateLimit-Policy` says it; empty without one.
    pub(crate) policy: String,
    gcra: Option<Gcra>,
}

/// What the limits came to for a request that everything else allows.
#[derive(Clone, Debug)]
pub struct Limited<'e> {
    /// The plan of the caller; `None` for a caller that names one that does not
    /// exist, where there is no default.
    pub plan: Option<&'e Plan>,
    /// The caller names a plan that does not exist.
    pub is_unknown: bool,
    /// How many requests' worth it takes.
    pub cost: u32,
    /// Whether its budget held enough; `None` where this process does not
    /// count.
    pub outcome: Option<LimitOutcome>,
    /// Its budget held enough, and holds less than a fifth of its burst now.
    pub is_nearly_over: bool,
}

/// What is counted of a limited request: an outcome, or that its caller names a
/// plan that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LimitResult {
    /// The budget held enough.
    Within,
    /// It did not, and the request was denied.
    Over,
    /// It did not, which was only recorded.
    WouldBeOver,
    /// The caller names a plan that does not exist.
    UnknownPlan,
}

/// Whether a budget held enough. What is seldom there is elsewhere: every
/// decision has room for this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOutcome {
    /// It did.
    Within,
    /// It did not, so the request is denied.
    Over(Box<Wait>),
    /// It did not, but limits are only tried out.
    WouldBeOver(Box<Wait>),
}

/// What a caller may do that is over its limit. The numbers are texts, so that
/// a response borrows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In how many whole seconds its budget holds enough for the same request;
    /// at least one.
    pub seconds: SmolStr,
    /// How many requests' worth it holds now.
    pub left: SmolStr,
}

impl Limits {
    /// The limits of `settings`, counted by `counters`.
    pub fn new(settings: &LimitSettings, counters: Arc<Counters>) -> Self {
        let plans = settings.plans.iter().enumerate();
        let plans: Vec<_> = plans.map(|(at, plan)| Plan::new(at, plan)).collect();
        let names = plans.iter().enumerate().map(|(at, plan)| (plan.name.clone(), at));
        let by_name: AHashMap<_, _> = names.collect();
        let default_plan = settings.default_plan.as_ref().and_then(|name| by_name.get(name));
        let limits = Self {
            default_plan: default_plan.copied(),
            plans,
            by_name,
            plan_claim: settings.plan_claim.clone(),
            by: settings.limit_by.clone(),
            mode: settings.mode,
            counters,
        };
        limits.prepare();
        limits
    }

    /// Who counts.
    pub fn mode(&self) -> LimitMode {
        self.mode
    }

    /// All plans, in the order of the configuration.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The counters of this process.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Leaves budgets as requests leave them.
    pub(crate) fn stop_refill(&mut self) {
        self.counters = Arc::new(Counters::standing_still(self.counters.capacity()));
        self.prepare();
    }

    /// Counts on from what `others` have counted.
    pub(crate) fn keep(&mut self, others: &Self) {
        self.counters = match self.counters.capacity() == others.counters.capacity() {
            true => Arc::clone(&others.counters),
            false => Arc::new(others.counters.resized(self.counters.capacity())),
        };
        self.prepare();
    }

    /// Makes the table of the counters before a request needs it.
    fn prepare(&self) {
        if self.mode.counts_here() {
            self.counters.prepare();
        }
    }

    /// The allowance of a caller that the provider called `provider`
    /// authenticated.
    pub(crate) fn allowance(&self, principal: &Principal, provider: &str) -> Allowance {
        let named = self.named_plan(principal);
        let listed = named.and_then(|name| self.by_name.get(name?)).copied();
        let at = listed.or(self.default_plan);
        let (plan, is_unknown) = (at.and_then(PlanAt::new), named.is_some() && listed.is_none());
        if !self.mode.counts_here() {
            let key = Box::new(self.key_text(principal, provider).into());
            return Allowance::Told { plan, is_unknown, key };
        }
        // The plan belongs to the key: a reload that changes it begins anew.
        // With the burst that it comes to: written or not, it is the same budget.
        let amount = at.map(|at| {
            let plan = &self.plans[at];
            (&*plan.name, plan.requests.map(|it| (it.number, it.unit, it.burst())))
        });
        let who = (amount, provider, self.dimension(), self.value(principal));
        Allowance::Counted { plan, is_unknown, key: self.counters.key(who) }
    }

    /// Takes `cost` requests' worth from the caller's budget; `None` for a
    /// caller without a limit. `now` is a recent moment, if one is known: it
    /// saves reading the clock.
    pub(crate) fn take(
        &self,
        allowance: &Allowance,
        cost: u32,
        now: Option<Instant>,
    ) -> Option<Limited<'_>> {
        let plan = allowance.plan().map(|at| &self.plans[at]);
        let is_unknown = allowance.is_unknown();
        let limited = Limited { plan, is_unknown, cost, outcome: None, is_nearly_over: false };
        let counted = plan.and_then(|plan| Some((plan.gcra?, allowance.key()?)));
        let Some((gcra, key)) = counted else {
            return (plan.is_some() || limited.is_unknown).then_some(limited);
        };
        let now = self.counters.now(now);
        let taken = self.counters.take(key, gcra, cost, now);
        let is_nearly_over = taken.is_ok_and(|full_at| gcra.is_nearly_used(full_at, now));
        let outcome = match taken {
            Ok(_) => LimitOutcome::Within,
            Err(lack) => {
                let wait = Box::new(Wait::new(lack.until, lack.left));
                match self.mode {
                    LimitMode::Shadow => LimitOutcome::WouldBeOver(wait),
                    LimitMode::Local | LimitMode::Metadata => LimitOutcome::Over(wait),
                }
            }
        };
        Some(Limited { outcome: Some(outcome), is_nearly_over, ..limited })
    }

    /// Who the budget belongs to, for people and for a service that counts:
    /// the provider and what its callers are told apart by. Callers without
    /// that share one budget.
    pub fn key_text(&self, principal: &Principal, provider: &str) -> String {
        // Without this, a provider's name could continue in a value.
        let provider = provider.replace('%', "%25").replace('/', "%2F");
        format!("{provider}/{}", self.value(principal).unwrap_or_default())
    }

    /// What the limits came to, in one sentence for operators.
    pub(crate) fn describe(
        &self,
        limited: Option<&Limited<'_>>,
        principal: &Principal,
        provider: &str,
    ) -> String {
        let Some(Limited { plan, is_unknown, cost, outcome, .. }) = limited else {
            return "no plan limits it".into();
        };
        let unknown = if *is_unknown { "it names a plan that does not exist; " } else { "" };
        let Some(plan) = plan else {
            return Sentence::of(format_args!("{unknown}no plan limits it"));
        };
        let name = Name(&plan.name);
        let key = self.key_text(principal, provider);
        let of = format!("{unknown}plan {name} for {}", Name(&key));
        match (outcome, &plan.requests) {
            (Some(LimitOutcome::Within), Some(amount)) if *cost > 1 => {
                Sentence::of(format_args!("{of}: within {amount}; the route has cost: {cost}"))
            }
            (Some(LimitOutcome::Within), Some(amount)) => {
                Sentence::of(format_args!("{of}: within {amount}"))
            }
            (Some(LimitOutcome::Over(wait) | LimitOutcome::WouldBeOver(wait)), Some(amount)) => {
                let Wait { seconds, left } = &**wait;
                Sentence::of(format_args!(
                    "{of}: {amount}, {left} left, {cost} wanted, enough in {seconds} s"
                ))
            }
            (None, _) if !self.mode.counts_here() => {
                let cost = if *cost > 1 { format!(", cost: {cost}") } else { String::new() };
                Sentence::of(format_args!("{of}: Envoy is told {}{cost}", plan.amounts()))
            }
            _ => Sentence::of(format_args!("{of}: it does not limit requests")),
        }
    }

    /// The plan that the caller names: `Some(None)` where what it names can't
    /// be one.
    fn named_plan<'p>(&self, principal: &'p Principal) -> Option<Option<&'p str>> {
        if let Some(plan) = &principal.plan {
            return Some(Some(plan));
        }
        match self.plan_claim.find(&principal.claims)? {
            Value::Null => None,
            value => Some(value.as_str()),
        }
    }

    fn value<'p>(&self, principal: &'p Principal) -> Option<Cow<'p, str>> {
        let text = |text: &'p Option<String>| text.as_deref().map(Cow::Borrowed);
        let value = match &self.by {
            LimitBy::Subject => text(&principal.subject),
            LimitBy::ClientId => text(&principal.client_id),
            LimitBy::Claim(path) => match path.find(&principal.claims)? {
                Value::String(text) => Some(Cow::Borrowed(text.as_str())),
                // Two inexact numbers may be one and the same double.
                value @ Value::Number(_) if !is_exact(value) => None,
                value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string().into()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
        };
        value.filter(|value| !value.is_empty())
    }

    /// Keeps a subject and an equal client id apart over a reload that changes
    /// what callers are told apart by.
    fn dimension(&self) -> Cow<'_, str> {
        match &self.by {
            LimitBy::Subject => "subject".into(),
            LimitBy::ClientId => "client_id".into(),
            LimitBy::Claim(path) => format!("claim {path}").into(),
        }
    }
}

impl Plan {
    fn new(position: usize, settings: &PlanSettings) -> Self {
        let policy = settings.requests.as_ref().map(|amount| {
            format!("\"requests\";q={};w={}", amount.number, amount.unit.duration().as_secs())
        });
        let told = amounts_of(settings.requests, settings.tokens).map(|(what, amount)| {
            let Amount { number, unit, .. } = amount;
            (what, json!({"requests_per_unit": number, "unit": unit.as_envoy()}))
        });
        Self {
            told: told.map(|(what, limit)| (what.to_owned(), limit)).collect(),
            name: settings.name.clone(),
            position,
            requests: settings.requests,
            tokens: settings.tokens,
            policy: policy.unwrap_or_default(),
            gcra: settings.requests.as_ref().map(Gcra::new),
        }
    }

    /// Its limits for people, as a service counts them: `60 requests a minute,
    /// 5 tokens a day`. A burst is not told to any.
    fn amounts(&self) -> String {
        let limits = amounts_of(self.requests, self.tokens).map(|(what, amount)| {
            let Amount { number, unit, .. } = amount;
            format!("{number} {what} {}", unit.as_words())
        });
        limits.collect::<Vec<_>>().join(", ")
    }
}

/// The amounts that a plan has, by what they are of.
fn amounts_of(
    requests: Option<Amount>,
    tokens: Option<Amount>,
) -> impl Iterator<Item = (&'static str, Amount)> {
    let amounts = [("requests", requests), ("tokens", tokens)].into_iter();
    amounts.filter_map(|(what, amount)| Some((what, amount?)))
}

impl<'e> Limited<'e> {
    /// The plan, and how long the caller has to wait, if it is denied.
    pub fn denied(&self) -> Option<(&'e Plan, &Wait)> {
        match self.outcome.as_ref()? {
            LimitOutcome::Over(wait) => Some((self.plan?, wait)),
            LimitOutcome::Within | LimitOutcome::WouldBeOver(_) => None,
        }
    }
}

impl LimitOutcome {
    /// What is counted of it.
    pub const fn result(&self) -> LimitResult {
        match self {
            Self::Within => LimitResult::Within,
            Self::Over(_) => LimitResult::Over,
            Self::WouldBeOver(_) => LimitResult::WouldBeOver,
        }
    }

    /// How long the caller has to wait, or would have to.
    pub const fn wait(&self) -> Option<&Wait> {
        match self {
            Self::Within => None,
            Self::Over(wait) | Self::WouldBeOver(wait) => Some(wait),
        }
    }
}

impl LimitResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Within, Self::Over, Self::WouldBeOver, Self::UnknownPlan];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Over => "over",
            Self::WouldBeOver => "would_be_over",
            Self::UnknownPlan => "unknown_plan",
        }
    }
}

impl Wait {
    fn new(until: Duration, left: u64) -> Self {
        // Rounded up: less would be too early.
        let seconds = until.as_secs() + u64::from(until.subsec_nanos() > 0);
        Self { seconds: seconds.max(1).to_smolstr(), left: left.to_smolstr() }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("plans", &self.plans).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
