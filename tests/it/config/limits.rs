//! Plans: what loads, what it means, and what does not load.

use std::num::NonZeroU32;

use claimgate::{
    claims::ClaimPath,
    settings::{
        Amount, LimitBy, LimitMode, LimitSettings, PlanSettings, ProviderKind, RouteLimit, TimeUnit,
    },
};

use super::{good, load};

fn auth(lines: &str) -> String {
    format!("auth:\n  api_keys: [{{name: n, key: a-key-of-the-usual-length}}]\n  {lines}\n")
}

/// With a plan `free` of 60 requests each minute.
fn planned(lines: &str) -> String {
    auth(&format!("plans: {{free: {{requests: {{per_minute: 60}}}}}}\n  {lines}"))
}

fn plan(fields: &str) -> String {
    auth(&format!("plans: {{free: {{{fields}}}}}"))
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn limits(text: &str) -> LimitSettings {
    good(text).settings.auth.limits.expect("limits")
}

#[test]
fn plans_mean_what_they_say() {
    assert_eq!(good(&auth("")).settings.auth.limits, None);
    let per_minute = |burst: Option<u32>| Amount {
        number: number(60),
        unit: TimeUnit::Minute,
        burst: burst.map(number),
    };
    let free = |requests, tokens| PlanSettings { name: "free".into(), requests, tokens };
    let defaults = limits(&planned(""));
    let expected =
        LimitSettings { plans: vec![free(Some(per_minute(None)), None)], ..Default::default() };
    assert_eq!(defaults, expected);
    assert_eq!((defaults.mode, defaults.max_callers), (LimitMode::Local, 100_000));
    let all = "plans: {free: {requests: {per_minute: 60}, tokens: {per_day: 9}}, b c: {tokens: \
               {per_second: 1}}}\n  plan_claim: [org, plan]\n  default_plan: b c\n  limit_by: \
               org.id\n  limits: metadata\n  max_limited_callers: 7";
    let tokens = |number: u32, unit| Amount { number: self::number(number), unit, burst: None };
    let expected = LimitSettings {
        plans: vec![
            free(Some(per_minute(None)), Some(tokens(9, TimeUnit::Day))),
            PlanSettings {
                name: "b c".into(),
                requests: None,
                tokens: Some(tokens(1, TimeUnit::Second)),
            },
        ],
        plan_claim: ClaimPath::Segments(vec!["org".into(), "plan".into()]),
        default_plan: Some("b c".into()),
        limit_by: LimitBy::Claim(ClaimPath::named("org.id")),
        mode: LimitMode::Metadata,
        max_callers: 7,
    };
    assert_eq!(limits(&auth(all)), expected);
    let burst = limits(&plan("requests: {per_minute: 60, burst: 5}"));
    assert_eq!(burst.plans, [free(Some(per_minute(Some(5))), None)]);
    for (by, expected) in [("subject", LimitBy::Subject), ("client_id", LimitBy::ClientId)] {
        assert_eq!(limits(&planned(&format!("limit_by: {by}"))).limit_by, expected);
    }
}

#[test]
fn routes_and_keys_name_limits() {
    let text = planned(
        "routes: [{name: a, match: {path: /a}, limits: none}, {name: b, match: {path: /b}, cost: \
         60}, {name: c, match: {path: /c}}]",
    );
    let routes = good(&text).settings.auth.routes;
    let limits: Vec<_> = routes.iter().map(|route| route.limit).collect();
    let costs = |cost| RouteLimit::Cost(number(cost));
    assert_eq!(limits, [RouteLimit::Unlimited, costs(60), costs(1)]);
    let text = planned("").replace("name: n,", "name: n, plan: free,");
    match &good(&text).settings.auth.providers[0].kind {
        ProviderKind::ApiKey(keys) => assert_eq!(keys[0].plan.as_deref(), Some("free")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let route =
        |fields: &str| planned(&format!("routes: [{{name: r, match: {{path: /}}, {fields}}}]"));
    let unplanned =
        |fields: &str| auth(&format!("routes: [{{name: r, match: {{path: /}}, {fields}}}]"));
    let cases = [
        (auth("plans: {}"), "auth.plans", "lists no plan"),
        (plan(""), "auth.plans.free", "limits nothing; write `requests: {per_minute: 60}`"),
        (plan("requests: {}"), "auth.plans.free.requests", "write one of `per_second`"),
        (plan("requests: {burst: 3}"), "auth.plans.free.requests", "write one of `per_second`"),
        (
            plan("requests: {per_second: 1, per_hour: 2}"),
            "auth.plans.free.requests",
            "has both `per_second` and `per_hour`",
        ),
        (plan("requests: {per_minute: 0}"), "auth.plans.free.requests.per_minute", "from 1 to"),
        (
            plan("requests: {per_minute: 4294967296}"),
            "auth.plans.free.requests.per_minute",
            "must be from 1 to 1000000000",
        ),
        (plan("requests: {per_minute: 1, burst: 0}"), "auth.plans.free.requests.burst", "from 1"),
        (
            plan("requests: {per_day: 1}"),
            "auth.plans.free.requests.per_day",
            "write `limits: metadata`",
        ),
        (plan("tokens: {per_minute: 1}"), "auth.plans.free.tokens", "write `limits: metadata`"),
        (plan("requsts: {per_minute: 1}"), "auth.plans.free.requsts", "requests"),
        (plan("requests: {per_minute: 1}") + "  limits: metdata", "auth.limits", "metadata"),
        (
            auth("plans: {free: {tokens: {per_minute: 1, burst: 2}}}\n  limits: metadata"),
            "auth.plans.free.tokens.burst",
            "has no meaning for tokens",
        ),
        (
            auth("plans: {\"a\\nb\": {requests: {per_minute: 1}}}"),
            "auth.plans[\"a\\nb\"]",
            "is not a plan's name",
        ),
        (planned("default_plan: gold"), "auth.default_plan", "write one of `free`"),
        (planned("limit_by: \"\""), "auth.limit_by", "must not be empty"),
        (planned("max_limited_callers: 0"), "auth.max_limited_callers", "from 1 to 10000000"),
        (auth("default_plan: free"), "auth.default_plan", "there is no `auth.plans`"),
        (
            route("cost: 61"),
            "auth.routes[0].cost",
            "more than the plan `free` ever allows at once (60)",
        ),
        (
            route("cost: 61") + "\n  limits: metadata",
            "auth.routes[0].cost",
            "ever allows at once (60), so its callers could never use this route; write a higher \
             amount",
        ),
        (route("cost: 0"), "auth.routes[0].cost", "from 1 to"),
        (
            plan("requests: {per_day: 5}, tokens: {per_day: 5}") + "  limits: metdata",
            "auth.limits",
            "did you mean `metadata`?",
        ),
        (
            route("limits: none, cost: 2"),
            "auth.routes[0].cost",
            "has no meaning with `limits: none`",
        ),
        (route("public: true, cost: 2"), "auth.routes[0].cost", "has no meaning on a public route"),
        (unplanned("cost: 2"), "auth.routes[0].cost", "has no meaning without `auth.plans`"),
        (unplanned("limits: none"), "auth.routes[0].limits", "has no meaning without `auth.plans`"),
        (
            planned("").replace("name: n,", "name: n, plan: gold,"),
            "auth.api_keys[0].plan",
            "is not a plan; write one of `free`",
        ),
        (
            auth("").replace("name: n,", "name: n, plan: gold,"),
            "auth.api_keys[0].plan",
            "there is no `auth.plans`",
        ),
    ];
    for (text, place, fragment) in cases {
        let errors = match load(&text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(errors) => errors,
        };
        let found: Vec<_> =
            errors.iter().map(|error| (error.place.as_str(), &error.message)).collect();
        assert!(
            matches!(&found[..], [(at, message)] if *at == place && message.contains(fragment)),
            "{place}: {fragment}\n{errors}\nin\n{text}"
        );
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let cases = [
        (plan("requests: {per_minute: 1, burst: 2}") + "  limits: metadata", "has no effect"),
        (auth("limits: shadow"), "has no effect without `auth.plans`"),
        (auth("limit_by: client_id"), "has no effect without `auth.plans`"),
        (planned("limit_by: clientid"), "did you mean `client_id`?"),
        (planned("limit_by: Subject"), "did you mean `subject`?"),
    ];
    for (text, fragment) in cases {
        let warnings = good(&text).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(format!("{:?}", warnings[0]).contains(fragment), "{warnings:?}");
    }
}
