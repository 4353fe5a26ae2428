//! The denials as a reader asked for them: filtered, and listed by what they
//! have in common.

use std::collections::HashMap;

use crate::status::{
    filter::{Filter, NONE},
    report::{CauseReport, DenialReport, LimitedCaller, Report},
};

/// How many values of a list are shown; the rest is behind a link.
const FIRST_VALUES: usize = 6;

/// How many causes are shown; the rest is folded.
const FIRST_CAUSES: usize = 10;

/// How many callers that met their limits are shown; the rest is in the JSON.
const FIRST_LIMITED: usize = 50;

/// How many denials are shown; the rest is folded.
const FIRST_DENIALS: usize = 25;

/// The denials that pass the filters.
pub(super) struct Denied<'r> {
    /// How many there were in the last ten minutes.
    pub(super) count: u64,
    pub(super) filters: Vec<ActiveFilter<'r>>,
    pub(super) lists: Vec<List<'r>>,
    pub(super) first_causes: Vec<Linked<'r, CauseReport>>,
    pub(super) more_causes: Vec<Linked<'r, CauseReport>>,
    pub(super) first: Vec<Linked<'r, DenialReport>>,
    pub(super) more: Vec<Linked<'r, DenialReport>>,
    /// Requests that limits which are only tried out would have denied.
    pub(super) first_would_be: Vec<Linked<'r, DenialReport>>,
    pub(super) more_would_be: Vec<Linked<'r, DenialReport>>,
    pub(super) limited: Vec<Limited<'r>>,
    pub(super) more_limited: usize,
}

/// A caller that met its limit, and the page with those requests alone.
pub(super) struct Limited<'r> {
    pub(super) it: &'r LimitedCaller,
    pub(super) link: String,
}

/// A filter that is set.
pub(super) struct ActiveFilter<'r> {
    pub(super) name: &'static str,
    pub(super) value: &'r str,
    /// The page without it.
    pub(super) without: String,
}

/// The denials by one of their traits.
pub(super) struct List<'r> {
    pub(super) title: &'static str,
    pub(super) values: Vec<Value<'r>>,
    /// How many more there are, and the page that lists them.
    pub(super) more: usize,
    pub(super) in_full: String,
    /// The page that lists fewer, where this lists all.
    pub(super) in_short: Option<String>,
}

/// One value and how many denials have it.
pub(super) struct Value<'r> {
    pub(super) value: &'r str,
    pub(super) count: u64,
    /// Its share of the most frequent value, in percent.
    pub(super) share: u64,
    pub(super) link: String,
}

/// Denials, and the pages with those that have a trait in common.
pub(super) struct Linked<'r, T> {
    pub(super) it: &'r T,
    pub(super) by_reason: String,
    pub(super) by_provider: String,
    pub(super) by_route: String,
    pub(super) by_subject: String,
}

impl<'r> Denied<'r> {
    pub(super) fn of(report: &'r Report, filter: &'r Filter) -> Self {
        let causes: Vec<_> =
            report.causes.iter().filter(|it| filter.matches(&it.traits())).collect();
        let active = filter.active().map(|(name, value)| {
            let without = filter.link(name, "");
            ActiveFilter { name, value, without }
        });
        let mut linked = causes.iter().map(|it| Linked::of(*it, |n| it.traits().value(n), filter));
        let passing = |denials: &'r [DenialReport]| {
            let passing = denials.iter().filter(|it| filter.matches(&it.traits()));
            passing.map(|it| Linked::of(it, |n| it.traits().value(n), filter))
        };
        let mut denials = passing(&report.denials);
        let limits = report.limits.as_ref();
        let mut would_be = passing(limits.map_or(&[], |limits| limits.would_be_denials.as_slice()));
        let limited = limits.map_or(&[][..], |limits| limits.limited.as_slice());
        let of_caller = |it: &'r LimitedCaller| {
            let section = if it.over > 0 { "denials" } else { "limits" };
            let link = filter.link_to(section, "limit_key", &it.limit_key);
            Limited { it, link }
        };
        Self {
            count: causes.iter().map(|cause| cause.count).sum(),
            filters: active.collect(),
            lists: Filter::LISTED.into_iter().map(|name| List::of(name, &causes, filter)).collect(),
            first_causes: linked.by_ref().take(FIRST_CAUSES).collect(),
            more_causes: linked.collect(),
            first: denials.by_ref().take(FIRST_DENIALS).collect(),
            more: denials.collect(),
            first_would_be: would_be.by_ref().take(FIRST_DENIALS).collect(),
            more_would_be: would_be.collect(),
            limited: limited.iter().take(FIRST_LIMITED).map(of_caller).collect(),
            more_limited: limited.len().saturating_sub(FIRST_LIMITED),
        }
    }
}

impl<'r> List<'r> {
    fn of(name: &'static str, causes: &[&'r CauseReport], filter: &Filter) -> Self {
        let mut counts: HashMap<&'r str, u64> = HashMap::new();
        for cause in causes {
            *counts.entry(cause.traits().value(name)).or_default() += cause.count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let most = counts.first().map_or(1, |(_, count)| (*count).max(1));
        let is_in_full = filter.by == name;
        let shown = if is_in_full { counts.len() } else { counts.len().min(FIRST_VALUES) };
        let value = |&(value, count): &(&'r str, u64)| Value {
            value,
            count,
            share: (count * 100 / most).max(1),
            link: filter.link(name, value),
        };
        Self {
            title: match name {
                "reason" => "Reason",
                "provider" => "Provider",
                "route" => "Route",
                _ => "Caller",
            },
            more: counts.len() - shown,
            values: counts[..shown].iter().map(value).collect(),
            in_full: filter.link("by", name),
            in_short: (is_in_full && shown > FIRST_VALUES).then(|| filter.link("by", "")),
        }
    }
}

impl Value<'_> {
    /// Whether these denials have no such trait.
    pub(super) fn is_none(&self) -> bool {
        self.value == NONE
    }
}

impl<'r, T> Linked<'r, T> {
    fn of<'t>(it: &'r T, value: impl Fn(&'static str) -> &'t str, filter: &Filter) -> Self {
        let link = |name| filter.link(name, value(name));
        Self {
            it,
            by_reason: link("reason"),
            by_provider: link("provider"),
            by_route: link("route"),
            by_subject: link("subject"),
        }
    }
}
