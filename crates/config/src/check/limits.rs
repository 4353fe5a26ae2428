//! Rules for the limits of each caller.

use std::num::NonZeroU32;

use claimgate_core::{
    claims::ClaimPath,
    settings::{
        Amount, AuthSettings, LimitBy, LimitMode, LimitSettings, PlanSettings, RouteLimit, TimeUnit,
    },
};
use serde_json::{Map, Value};

use super::claims;
use crate::{
    file::{
        auth::Auth,
        forms::{Entries, OneOrMany},
        limits::{self, Count, RouteLimits},
    },
    report::Place,
    spelling::{guess, is_almost},
};

/// The limits of the `auth` block; takes their keys out of `file`.
pub(super) fn limits(file: &mut Auth, place: &Place) -> Option<LimitSettings> {
    let defaults = LimitSettings::default();
    let mode = file.limits.take().map(mode);
    let plan_claim = file.plan_claim.take();
    let default_plan = file.default_plan.take();
    let limit_by = file.limit_by.take();
    let max_callers = file.max_limited_callers.take();
    let Some(plans) = file.plans.take() else {
        if let Some(name) = &default_plan {
            must_be_listed(name, &[], &place.key("default_plan"));
        }
        let written = [
            ("limits", mode.is_some()),
            ("plan_claim", plan_claim.is_some()),
            ("limit_by", limit_by.is_some()),
            ("max_limited_callers", max_callers.is_some()),
        ];
        for (key, _) in written.into_iter().filter(|(_, written)| *written) {
            place.key(key).warn("has no effect without `auth.plans`; write them, or remove this");
        }
        return None;
    };
    let is_known = !place.key("limits").has_error();
    let mode = mode.unwrap_or(defaults.mode);
    let plans = self::plans(plans, is_known.then_some(mode), &place.key("plans"));
    let default_place = place.key("default_plan");
    if let Some(name) = &default_plan {
        must_be_listed(name, &plans, &default_place);
    }
    let (claim_place, by_place) = (place.key("plan_claim"), place.key("limit_by"));
    let claim = plan_claim.map(|path| claims::path(Some(path), &claim_place));
    Some(LimitSettings {
        plans,
        plan_claim: claim.flatten().unwrap_or(defaults.plan_claim),
        default_plan,
        limit_by: limit_by.and_then(|by| told_apart(by, &by_place)).unwrap_or(defaults.limit_by),
        mode,
        max_callers: max_callers
            .and_then(|callers| callers.get().try_into().ok())
            .unwrap_or(defaults.max_callers),
    })
}

/// What a route's requests take from budgets.
pub(super) fn of_route(
    limits: Option<RouteLimits>,
    cost: Option<Count>,
    place: &Place,
) -> RouteLimit {
    match (limits, cost) {
        (Some(RouteLimits::None), None) => RouteLimit::Unlimited,
        (Some(RouteLimits::None), Some(_)) => {
            place.key("cost").error("has no meaning with `limits: none`; remove one of the two");
            RouteLimit::Unlimited
        }
        (None, cost) => cost.and_then(number).map_or_else(RouteLimit::default, RouteLimit::Cost),
    }
}

/// What the parts of the `auth` block say of each other's plans.
pub(super) fn cross_check(auth: &AuthSettings, place: &Place) {
    let plans = auth.limits.as_ref().map_or(&[][..], |limits| &limits.plans);
    let has_plans = auth.limits.is_some();
    for (index, route) in auth.routes.iter().enumerate() {
        let place = place.key("routes").index(index);
        match route.limit {
            RouteLimit::Unlimited if !has_plans => {
                place.key("limits").error("has no meaning without `auth.plans`; remove it");
            }
            RouteLimit::Cost(cost) if cost.get() > 1 && !has_plans => {
                place.key("cost").error("has no meaning without `auth.plans`; remove it");
            }
            RouteLimit::Cost(cost) => {
                let too_small = plans.iter().find_map(|plan| {
                    let requests = plan.requests?;
                    // A service counts whole windows.
                    let (most, higher) = match counts_here(auth) {
                        true => (requests.burst(), "`burst`"),
                        false => (requests.number, "amount"),
                    };
                    (most < cost).then_some((&plan.name, most, higher))
                });
                if let Some((plan, most, higher)) = too_small {
                    place.key("cost").error(format_args!(
                        "is more than the plan `{plan}` ever allows at once ({most}), so its \
                         callers could never use this route; write a higher {higher} there, or a \
                         lower cost"
                    ));
                }
            }
            RouteLimit::Unlimited => {}
        }
    }
}

fn counts_here(auth: &AuthSettings) -> bool {
    auth.limits.as_ref().is_some_and(|limits| limits.mode.counts_here())
}

/// The plan called `name` must exist.
pub(super) fn must_be_listed(name: &str, plans: &[PlanSettings], place: &Place) {
    if plans.iter().any(|plan| plan.name == name) {
        return;
    }
    match plans.is_empty() {
        true => {
            place.wrong(name, "is not a plan: there is no `auth.plans`; list the plan there");
        }
        false => place.wrong(name, format_args!("is not a plan; {}", listed(name, plans, place))),
    }
}

/// Warns of an API key whose claims name a plan that does not exist. For a token
/// nothing can be known before it is there.
pub(super) fn warn_of_unknown_plan(
    claims: &Map<String, Value>,
    limits: &LimitSettings,
    place: &Place,
) {
    let Some(named) = limits.plan_claim.find(&claims.clone().into()).cloned() else { return };
    let place = &match &limits.plan_claim {
        ClaimPath::Name { literal, .. } if claims.contains_key(literal) => place.key(literal),
        ClaimPath::Name { segments, .. } | ClaimPath::Segments(segments) => {
            segments.iter().fold(place.clone(), |place, segment| place.key(segment))
        }
    };
    let name = match &named {
        Value::Null => return,
        Value::String(name) if limits.plans.iter().any(|plan| plan.name == *name) => return,
        Value::String(name) => name.clone(),
        other => other.to_string(),
    };
    let outcome = match &limits.default_plan {
        Some(plan) => format!("is on the plan `{}`", plan.escape_debug()),
        None => "has no limit".into(),
    };
    place.warn(format_args!(
        "{} is not a plan, so this key {outcome}; {}",
        place.quoted(&name),
        listed(&name, &limits.plans, place)
    ));
}

/// What to do about a plan that does not exist.
fn listed(name: &str, plans: &[PlanSettings], place: &Place) -> String {
    const FEW: usize = 12;
    // What is wrong itself is not proposed.
    let names = plans.iter().map(|plan| plan.name.as_str()).filter(|name| is_name(name));
    let names: Vec<_> = names.collect();
    match names.len() {
        0 => "list it in `auth.plans`".into(),
        1..=FEW => {
            let guess = if place.is_hidden() { String::new() } else { guess(name, &names) };
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("write one of {}, or list it{guess}", names.join(", "))
        }
        _ => "write one of those in `auth.plans`, or list it there".into(),
    }
}

fn mode(file: limits::LimitMode) -> LimitMode {
    match file {
        limits::LimitMode::Local => LimitMode::Local,
        limits::LimitMode::Shadow => LimitMode::Shadow,
        limits::LimitMode::Metadata => LimitMode::Metadata,
    }
}

/// `mode` is `None` where what was written is an error already.
fn plans(file: Entries<limits::Plan>, mode: Option<LimitMode>, place: &Place) -> Vec<PlanSettings> {
    if file.0.is_empty() {
        place.error("lists no plan; write one, or remove it");
    }
    let plan = |(name, plan): (String, Option<limits::Plan>)| {
        let place = place.key(&name);
        let is_wrong = place.has_error();
        check_name(&name, &place);
        let limits::Plan { requests, tokens } = plan.unwrap_or_default();
        let (requests_place, tokens_place) = (place.key("requests"), place.key("tokens"));
        if requests.is_none() && tokens.is_none() && !place.has_error_below() && !is_wrong {
            place.error("limits nothing; write `requests: {per_minute: 60}` or the like");
        }
        if tokens.is_some() && mode.is_some_and(LimitMode::counts_here) {
            tokens_place.error(
                "can't be counted here, where no answer of the upstream is seen; write `limits: \
                 metadata` to have Envoy count them",
            );
        }
        if tokens.as_ref().is_some_and(|tokens| tokens.burst.is_some()) {
            tokens_place.key("burst").error("has no meaning for tokens; remove it");
        }
        PlanSettings {
            name,
            requests: requests.and_then(|file| amount(file, mode, &requests_place)),
            tokens: tokens.and_then(|file| amount(file, mode, &tokens_place)),
        }
    };
    file.0.into_iter().map(plan).collect()
}

/// A plan's name is in metrics, logs and metadata.
fn check_name(name: &str, place: &Place) {
    if !is_name(name) {
        place.wrong_key(
            "is not a plan's name; write from 1 to 64 visible ASCII characters, spaces only \
             between them",
        );
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    let is_padded = name.trim() != name;
    (1..=64).contains(&name.len()) && !is_padded && name.bytes().all(is_plain)
}

fn amount(file: limits::Amount, mode: Option<LimitMode>, place: &Place) -> Option<Amount> {
    let limits::Amount { per_second, per_minute, per_hour, per_day, burst } = file;
    let written = [
        ("per_second", TimeUnit::Second, per_second),
        ("per_minute", TimeUnit::Minute, per_minute),
        ("per_hour", TimeUnit::Hour, per_hour),
        ("per_day", TimeUnit::Day, per_day),
    ];
    let mut written = written.into_iter().filter_map(|(key, unit, of)| Some((key, unit, of?)));
    let Some((key, unit, of)) = written.next() else {
        if !place.has_error_below() {
            place.missing(
                "write one of `per_second`, `per_minute`, `per_hour` and `per_day`, such as \
                 `per_minute: 60`",
            );
        }
        return None;
    };
    if let Some((other, ..)) = written.next() {
        place.error(format_args!("has both `{key}` and `{other}`; write one of them"));
    }
    if unit == TimeUnit::Day && mode.is_some_and(LimitMode::counts_here) {
        place.key(key).error(
            "can't be counted here, where a restart forgets what was used; write `limits: \
             metadata` to have a service of Envoy's count it, or a shorter time",
        );
    }
    let burst_place = place.key("burst");
    if burst.is_some() && mode.is_some_and(|mode| !mode.counts_here()) {
        burst_place.warn("has no effect with `limits: metadata`: services count whole windows");
    }
    Some(Amount { number: number(of)?, unit, burst: burst.and_then(number) })
}

fn number(count: Count) -> Option<NonZeroU32> {
    u32::try_from(count.get()).ok().and_then(NonZeroU32::new)
}

/// What callers are told apart by: `subject`, `client_id`, or a claim path.
fn told_apart(file: OneOrMany<String>, place: &Place) -> Option<LimitBy> {
    match &file {
        OneOrMany::One(name) if name == "subject" => Some(LimitBy::Subject),
        OneOrMany::One(name) if name == "client_id" => Some(LimitBy::ClientId),
        _ => {
            warn_of_a_slip(&file, place);
            claims::path(Some(file), place).map(LimitBy::Claim)
        }
    }
}

fn warn_of_a_slip(file: &OneOrMany<String>, place: &Place) {
    let OneOrMany::One(name) = file else { return };
    if let Some(meant) = ["subject", "client_id"].iter().find(|it| is_almost(name, it)) {
        place.warn(format_args!(
            "is taken for a claim called `{name}`; did you mean `{meant}`? Callers without the \
             claim share one budget"
        ));
    }
}
