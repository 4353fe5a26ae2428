//! The plans, and who is being limited.

use std::collections::HashMap;

use serde::Serialize;

use super::{ConfigInfo, DenialReport};
use crate::{
    limits::LimitResult,
    metrics::ByLimit,
    settings::{Amount, LimitMode, PlanSettings},
    status::{denials::Group, text::Moment},
};

/// The plans, and which callers meet their limits.
#[derive(Debug, Serialize)]
pub struct LimitsReport {
    /// Who counts: `local`, `shadow` or `metadata`.
    pub mode: &'static str,
    /// How many callers have used some of their budget that has not refilled
    /// yet.
    pub callers: usize,
    /// How many callers are counted at the most.
    pub max_callers: usize,
    /// The plans, in the order of the configuration.
    pub plans: Vec<PlanReport>,
    /// Requests since the start of the process of callers that name a plan which
    /// is not listed.
    pub unknown_plan: u64,
    /// Callers that were over their limit in the last ten minutes, or would have
    /// been, the most frequent first.
    pub limited: Vec<LimitedCaller>,
    /// The last requests that limits which are only tried out would have denied,
    /// the latest first.
    pub would_be_denials: Vec<DenialReport>,
}

/// A plan, and what became of its callers' requests since the start of the
/// process.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    /// Its name.
    pub name: String,
    /// Whether it is the plan of callers without one.
    pub is_default: bool,
    /// How many requests it allows; null for any number.
    pub requests: Option<String>,
    /// How many tokens of a language model, likewise.
    pub tokens: Option<String>,
    /// Requests that were within the limit.
    pub within: u64,
    /// Those over it, which were denied.
    pub over: u64,
    /// Those over it that were allowed, because limits are only tried out.
    pub would_be_over: u64,
}

/// A caller that met its limit in the last ten minutes.
#[derive(Debug, Serialize)]
pub struct LimitedCaller {
    /// Its plan.
    pub plan: String,
    /// Whose budget it is: the provider, and what its callers are told apart by.
    pub limit_key: String,
    /// How many of its requests were denied for it.
    pub over: u64,
    /// How many would have been.
    pub would_be_over: u64,
    /// When about the last one was.
    pub last: Moment,
    /// What that one rested on.
    pub detail: String,
}

/// The plans of the active configuration; `None` without any.
pub(super) fn of(
    config: &ConfigInfo,
    counts: &HashMap<String, ByLimit>,
    groups: &[Group],
    would_be_denials: Vec<DenialReport>,
) -> Option<LimitsReport> {
    let limits = config.auth.limits.as_ref()?;
    let plan = |plan: &PlanSettings| {
        let count = |result| counts.get(&plan.name).map_or(0, |counts| counts[result as usize]);
        PlanReport {
            name: plan.name.clone(),
            is_default: limits.default_plan.as_ref() == Some(&plan.name),
            requests: plan.requests.as_ref().map(Amount::to_string),
            tokens: plan.tokens.as_ref().map(Amount::to_string),
            within: count(LimitResult::Within),
            over: count(LimitResult::Over),
            would_be_over: count(LimitResult::WouldBeOver),
        }
    };
    let unknown = |counts: &ByLimit| counts[LimitResult::UnknownPlan as usize];
    Some(LimitsReport {
        mode: match limits.mode {
            LimitMode::Local => "local",
            LimitMode::Shadow => "shadow",
            LimitMode::Metadata => "metadata",
        },
        callers: config.budgets.as_ref().map_or(0, |budgets| budgets.callers()),
        max_callers: limits.max_callers,
        plans: limits.plans.iter().map(plan).collect(),
        unknown_plan: counts.values().map(unknown).sum(),
        limited: limited(groups),
        would_be_denials,
    })
}

/// The groups of each caller together, whatever routes they were on.
fn limited(groups: &[Group]) -> Vec<LimitedCaller> {
    let mut callers: HashMap<(&str, &str), LimitedCaller> = HashMap::new();
    for Group { count, last } in groups.iter().filter(|group| !group.last.plan().is_empty()) {
        let (plan, limit_key) = (last.plan(), last.limit_key());
        let new = || LimitedCaller {
            plan: plan.to_owned(),
            limit_key: limit_key.to_owned(),
            over: 0,
            would_be_over: 0,
            last: Moment(last.at),
            detail: last.detail().to_owned(),
        };
        let caller = callers.entry((plan, limit_key)).or_insert_with(new);
        match last.would_be {
            true => caller.would_be_over += count,
            false => caller.over += count,
        }
        if caller.last < Moment(last.at) {
            (caller.last, caller.detail) = (Moment(last.at), last.detail().to_owned());
        }
    }
    let mut callers: Vec<_> = callers.into_values().collect();
    callers.sort_by(|a, b| {
        let name = |it: &LimitedCaller| (it.limit_key.clone(), it.plan.clone());
        b.requests().cmp(&a.requests()).then_with(|| name(a).cmp(&name(b)))
    });
    callers
}

impl LimitsReport {
    /// Who counts, in a sentence.
    pub fn words(&self) -> String {
        let Self { mode, callers, max_callers, .. } = self;
        let used = match callers {
            1 => format!("1 caller, of at most {max_callers}, has used some of its budget"),
            _ => format!(
                "{callers} callers, of at most {max_callers}, have used some of their budget"
            ),
        };
        match *mode {
            "shadow" => format!("Limits are only tried out, nothing is denied. {used}."),
            "metadata" => {
                "Envoy is told the limits and has them counted, nothing is counted here.".into()
            }
            _ => format!("What is over its limit is answered with 429. {used}."),
        }
    }

    /// Whether requests were over a limit that is only tried out.
    pub fn are_tried_out(&self) -> bool {
        let any = self.plans.iter().any(|plan| plan.would_be_over > 0);
        self.mode == "shadow" || any
    }
}

impl LimitedCaller {
    /// Its requests that were over the limit, denied or not.
    pub fn requests(&self) -> u64 {
        self.over + self.would_be_over
    }
}
