//! Plans: what loads, what it means, and what does not load.

use std::num::NonZeroU32;

use claimgate::{
    claims::ClaimPath,
    config,
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

fn load_with(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<config::Loaded, config::ConfigErrors> {
    config::load(text, env)
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
        (
            plan("requests: 60"),
            "auth.plans.free.requests",
            "must say in which time, not `60`; write such as `{per_minute: 60}`",
        ),
        (plan("tokens: 1k/min"), "auth.plans.free.tokens", "must say in which time"),
        (auth("plans: {free: 60}"), "auth.plans.free", "must be a mapping, not `60`"),
        (planned("limits: false"), "auth.limits", "must be `local`, `shadow` or `metadata`"),
        (route("limits: false"), "auth.routes[0].limits", "write `none`, not `false`"),
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
        (planned("default_plan: gold"), "auth.default_plan", "write one of `free`, or list it"),
        (planned("default_plan: Free"), "auth.default_plan", "did you mean `free`?"),
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

/// One message, whatever is wrong with the number.
#[test]
fn every_wrong_amount_is_told_the_same_range() {
    let cases = [
        ("-1", "`-1`"),
        ("0", "`0`"),
        ("0.4", "`0.4`"),
        ("1.5", "`1.5`; write `2`"),
        ("1e3", "`1000.0`; write `1000`"),
        ("1e30", "`1e+30`"),
        ("1000000001", "`1000000001`"),
        ("18446744073709551616", "`1.8446744073709552e+19`"),
        ("\"60\"", "`60`; remove the quotes"),
        ("\"0\"", "`0`; write digits alone"),
        ("60/min", "`60/min`; write digits alone"),
        ("1k", "`1k`; write digits alone"),
        ("\"\"", "``; write digits alone"),
        ("true", "`true`"),
        ("[1]", "a list"),
        ("{a: 1}", "a mapping"),
        // What the variable holds is not shown.
        ("\"${WORD}\"", "the value of `${WORD}` (not shown); set the variable to digits alone"),
        (
            "\"${NEGATIVE}\"",
            "the value of `${NEGATIVE}` (not shown); set the variable to digits alone",
        ),
        ("\"${ZERO}\"", "the value of `${ZERO}` (not shown)"),
    ];
    let env = |name: &str| match name {
        "WORD" => Some("many".into()),
        "NEGATIVE" => Some("-5".into()),
        "ZERO" => Some("0".into()),
        _ => None,
    };
    for (written, told) in cases {
        let route = format!("routes: [{{name: r, match: {{path: /}}, cost: {written}}}]");
        let keys = [
            (plan(&format!("requests: {{per_hour: {written}}}")), "plans.free.requests.per_hour"),
            (
                plan(&format!("requests: {{per_hour: 1, burst: {written}}}")),
                "plans.free.requests.burst",
            ),
            (planned(&route), "routes[0].cost"),
        ];
        for (text, place) in keys {
            let errors = load_with(&text, &env).unwrap_err();
            let found: Vec<_> =
                errors.iter().map(|error| (error.place.as_str(), error.message.as_str())).collect();
            let place = format!("auth.{place}");
            let message = format!("must be a whole number from 1 to 1000000000, not {told}");
            assert_eq!(found, [(place.as_str(), message.as_str())]);
        }
    }
    let text = planned("max_limited_callers: \"${MANY}\"");
    let many = |number: &'static str| move |name: &str| (name == "MANY").then(|| number.into());
    let limits = load_with(&text, &many(" 7 ")).unwrap().settings.auth.limits;
    assert_eq!(limits.expect("limits").max_callers, 7);
}

#[test]
fn a_name_that_is_no_text_is_told_so() {
    let of_one = "{requests: {per_minute: 1}}";
    for (names, message) in [
        (vec!["null"], "has a key that is null; write the key's name, in quotes if it is `null`"),
        (vec!["~"], "has a key that is null"),
        (vec!["[a]"], "has a list or a mapping for a key; write the key's name"),
        (vec!["? {a: 1}"], "has a list or a mapping for a key"),
    ] {
        let plans: Vec<_> = names.iter().map(|name| format!("{name}: {of_one}")).collect();
        let errors = load(&auth(&format!("plans: {{{}}}", plans.join(", ")))).unwrap_err();
        assert!(errors.to_string().contains(message), "{errors}");
    }
    // Numbers and booleans are names as they are written.
    let plans =
        limits(&auth(&format!("plans: {{\"null\": {of_one}, 1: {of_one}, true: {of_one}}}")));
    let names: Vec<_> = plans.plans.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["null", "1", "true"]);
}

/// Names that are wrong themselves are not proposed, nor are more than twelve.
#[test]
fn the_plans_that_are_proposed_can_be_written() {
    let plans = |names: &[String]| {
        let plans: Vec<_> =
            names.iter().map(|name| format!("{name:?}: {{requests: {{per_minute: 1}}}}")).collect();
        load(&auth(&format!("plans: {{{}}}\n  default_plan: gold", plans.join(", "))))
            .unwrap_err()
            .to_string()
    };
    let wrong = plans(&[String::new(), "x".repeat(65), " a".into(), "ok".into()]);
    assert!(wrong.contains("`gold` is not a plan; write one of `ok`, or list it"), "{wrong}");
    let none = plans(&[String::new()]);
    assert!(none.contains("`gold` is not a plan; list it in `auth.plans`"), "{none}");
    let many: Vec<_> = (0..13).map(|number| format!("plan-{number}")).collect();
    let many = plans(&many);
    assert!(many.contains("write one of those in `auth.plans`, or list it there"), "{many}");
}

/// Its claims are treated like a token's, but known when the file is read.
#[test]
fn a_key_whose_claims_name_no_plan_is_warned_of() {
    let key = |fields: &str, lines: &str| {
        planned(lines).replace("name: n,", &format!("name: n, {fields},"))
    };
    let default = "default_plan: free";
    let cases = [
        (
            key("claims: {plan: fre}", ""),
            "auth.api_keys[0].claims.plan",
            "`fre` is not a plan, so this key has no limit; write one of `free`, or list it; did \
             you mean `free`?",
        ),
        (
            key("claims: {plan: gold}", default),
            "auth.api_keys[0].claims.plan",
            "`gold` is not a plan, so this key is on the plan `free`",
        ),
        (key("claims: {plan: [free]}", ""), "auth.api_keys[0].claims.plan", "is not a plan"),
        (key("claims: {plan: 7}", ""), "auth.api_keys[0].claims.plan", "`7` is not a plan"),
        (
            key("claims: {org: {plan: gold}}", "plan_claim: org.plan"),
            "auth.api_keys[0].claims.org.plan",
            "`gold` is not a plan",
        ),
        (
            key("claims: {org.plan: gold}", "plan_claim: org.plan"),
            "auth.api_keys[0].claims[\"org.plan\"]",
            "`gold` is not a plan",
        ),
    ];
    for (text, place, fragment) in cases {
        let warnings = good(&text).warnings;
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.place == place && warning.message.contains(fragment), "{warnings:?}");
    }
    for text in [
        key("claims: {plan: free}", ""),
        key("claims: {plan: null}", ""),
        key("claims: {team: gold}", ""),
        key("claims: {plan: gold}, plan: free", ""),
        auth("").replace("name: n,", "name: n, claims: {plan: gold},"),
    ] {
        assert!(good(&text).warnings.is_empty(), "{text}");
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
