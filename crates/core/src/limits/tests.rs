use std::{collections::HashMap, num::NonZeroU32, sync::Barrier, thread};

use proptest::prelude::*;
use serde_json::json;

use super::{gcra::Gcra, *};
use crate::{
    Engine, Reason,
    allowance::Key,
    provider::api_key::ApiKeys,
    request::Request,
    settings::{ApiKeySettings, AuthSettings, TimeUnit},
    time::UnixTime,
    token_cache::TokenCache,
};

const SECOND: u64 = 1_000_000_000;

fn amount(number: u32, unit: TimeUnit, burst: Option<u32>) -> Amount {
    let number = NonZeroU32::new(number).unwrap();
    Amount { number, unit, burst: burst.and_then(NonZeroU32::new) }
}

fn plan(name: &str, requests: Amount) -> PlanSettings {
    PlanSettings { name: name.into(), requests: Some(requests), tokens: None }
}

fn settings(plans: Vec<PlanSettings>) -> LimitSettings {
    LimitSettings { plans, ..LimitSettings::default() }
}

fn limits(settings: &LimitSettings) -> Limits {
    Limits::new(settings, Arc::new(Counters::new(settings.max_callers)))
}

fn caller(subject: &str, plan: &str) -> Principal {
    let claims = json!({"plan": plan}).as_object().cloned().unwrap();
    Principal::new(Some(subject.into())).with_claims(claims)
}

/// What a limit means, followed to the letter: no stretch of time from one
/// request to another holds more than a full budget and what refills in it.
#[derive(Default)]
struct Reference {
    allowed: Vec<(u64, u64)>,
}

impl Reference {
    fn allows(&mut self, amount: &Amount, cost: u32, now: u64) -> bool {
        let unit = amount.unit.duration().as_nanos() as u64;
        let each = unit.div_ceil(amount.number.get().into());
        let full = each * u64::from(amount.burst().get());
        let mut taken = each * u64::from(cost);
        let mut fits = taken <= full;
        for (at, weight) in self.allowed.iter().rev() {
            taken += weight;
            fits &= taken <= full + (now - at);
        }
        if fits {
            self.allowed.push((now, each * u64::from(cost)));
        }
        fits
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Several callers on one table, in any order, each as if it were alone.
    #[test]
    fn every_caller_gets_what_a_slow_reference_gives(
        number in 1_u32..200,
        burst in proptest::option::of(1_u32..50),
        unit in prop_oneof![Just(TimeUnit::Second), Just(TimeUnit::Minute), Just(TimeUnit::Hour)],
        requests in proptest::collection::vec((0_u64..3 * SECOND, 0_u8..5, 1_u32..4), 1..120),
    ) {
        let amount = amount(number, unit, burst);
        let gcra = Gcra::new(&amount);
        let counters = Counters::new(1000);
        let mut references: HashMap<u8, Reference> = HashMap::new();
        let mut now = 7;
        for (pause, who, cost) in requests {
            now += pause;
            let taken = counters.take(counters.key(who), gcra, cost, now);
            let expected = references.entry(who).or_default().allows(&amount, cost, now);
            prop_assert_eq!(taken.is_ok(), expected, "{:?} at {} for {}", amount, now, cost);
            if let Err(wait) = taken
                && cost <= amount.burst().get()
            {
                // Neither too late nor too early.
                let wait = wait.until.as_nanos() as u64;
                let mut copy = Reference { allowed: references[&who].allowed.clone() };
                prop_assert!(!copy.allows(&amount, cost, now + wait - 1));
                prop_assert!(copy.allows(&amount, cost, now + wait));
            }
        }
    }
}

/// Requests that are allowed, as `(when, weight)`: none of the stretches from
/// one to another holds more than a full budget and what refills in it.
fn is_too_much(amount: &Amount, mut allowed: Vec<(u64, u32)>) -> Option<String> {
    let unit = amount.unit.duration().as_nanos() as u64;
    let each = unit.div_ceil(amount.number.get().into());
    let full = each * u64::from(amount.burst().get());
    allowed.sort_unstable();
    for first in 0..allowed.len() {
        let mut taken = 0;
        for (at, cost) in &allowed[first..] {
            taken += each * u64::from(*cost);
            let may = full + (at - allowed[first].0);
            if taken > may {
                return Some(format!("{taken} of {may} between {} and {at}", allowed[first].0));
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Threads read the clock and are held up before they count, so one counts
    /// with an earlier time than the one before it, and a clock may step.
    #[test]
    fn whatever_time_each_request_has_none_is_too_many(
        number in 1_u32..200,
        burst in 1_u32..20,
        requests in proptest::collection::vec((0_u64..5 * SECOND, 1_u32..4), 1..100),
    ) {
        let amount = amount(number, TimeUnit::Second, Some(burst));
        let (gcra, counters) = (Gcra::new(&amount), Counters::new(1));
        let mut allowed = Vec::new();
        for (now, cost) in requests {
            if counters.take(counters.key("one"), gcra, cost, now).is_ok() {
                allowed.push((now, cost));
            }
        }
        let too_much = is_too_much(&amount, allowed);
        prop_assert!(too_much.is_none(), "{amount}: {too_much:?}");
    }

    #[test]
    fn two_threads_on_one_key_get_no_request_too_many(
        number in 1_u32..200,
        burst in 1_u32..20,
        pauses in proptest::collection::vec((0_u64..SECOND / 10, 1_u32..3), 20..200),
    ) {
        let amount = amount(number, TimeUnit::Second, Some(burst));
        let (gcra, counters) = (Gcra::new(&amount), Counters::new(16));
        let start = Barrier::new(2);
        let run = || {
            start.wait();
            let mut now = 0;
            let mut allowed = Vec::new();
            for (pause, cost) in &pauses {
                now += pause;
                if counters.take(counters.key("one"), gcra, *cost, now).is_ok() {
                    allowed.push((now, *cost));
                }
            }
            allowed
        };
        let allowed = thread::scope(|scope| {
            let threads = [scope.spawn(run), scope.spawn(run)];
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        let too_much = is_too_much(&amount, allowed);
        prop_assert!(too_much.is_none(), "{amount}: {too_much:?}");
    }
}

#[test]
fn a_thousand_callers_on_three_plans_each_get_their_plans_amount() {
    let plans = [("free", 60), ("silver", 600), ("gold", 3000)];
    let gcras = plans.map(|(_, number)| Gcra::new(&amount(number, TimeUnit::Minute, None)));
    let counters = Counters::new(100_000);
    let mut allowed = vec![0_u32; 1000];
    // In the first minute each uses up what it has saved; the second counts.
    // Each asks 100 times a second; the order differs from turn to turn.
    for turn in 0..12_000_u64 {
        for index in 0..1000_usize {
            let who = (index * 7919 + turn as usize * 104_729) % 1000;
            let now = turn * SECOND / 100 + index as u64;
            let taken = counters.take(counters.key(who), gcras[who % 3], 1, now);
            allowed[who] += u32::from(taken.is_ok() && turn >= 6000);
        }
    }
    for (who, allowed) in allowed.iter().enumerate() {
        let (name, number) = plans[who % 3];
        assert!(allowed.abs_diff(number) <= 1, "caller {who} on {name}: {allowed}");
    }
    assert_eq!(counters.capacity(), 100_000);
}

/// In a table with so few places that newcomers meet in one set at the same
/// moment, and others take places beside them.
#[test]
fn threads_on_one_new_key_share_one_budget() {
    let gcra = Gcra::new(&amount(50, TimeUnit::Minute, None));
    for round in 1..500_u64 {
        let counters = Counters::new(16);
        for other in 0..16 {
            counters.take(counters.key(("before", other)), gcra, 1, 0).unwrap();
        }
        // By now those have used less than a newcomer will have.
        let now = round * SECOND / 500;
        let start = Barrier::new(4);
        let run = |keys: Vec<Key>| {
            start.wait();
            let is_allowed = |key: Key| counters.take(key, gcra, 1, now).is_ok();
            keys.into_iter().filter(|key| is_allowed(*key)).count()
        };
        let one = vec![counters.key("one"); 40];
        let others = (0..8).map(|other| counters.key(("beside", other))).collect();
        let allowed = thread::scope(|scope| {
            let threads = [one.clone(), one.clone(), one].map(|keys| scope.spawn(|| run(keys)));
            scope.spawn(|| run(others));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(allowed, 50, "round {round}");
    }
}

/// Ten million callers within a minute, each once. Most plans refill so slowly
/// that those who came once would be full again long after the busiest.
#[test]
fn a_flood_of_callers_takes_no_memory_and_nothing_from_the_busiest() {
    const NEWCOMERS: u64 = 10_000_000;
    let plans = [
        // What the busiest are allowed: a full budget, and what refills.
        (amount(50, TimeUnit::Second, None), 50 + 60 * 50),
        (amount(60, TimeUnit::Minute, None), 60 + 60),
        (amount(600, TimeUnit::Hour, Some(100)), 100 + 10),
    ];
    let gcras = plans.each_ref().map(|(amount, _)| Gcra::new(amount));
    let counters = Counters::new(100_000);
    let busy: Vec<_> = (0..30_usize).map(|who| counters.key(("busy", who))).collect();
    let mut allowed = [0_u32; 30];
    for newcomer in 0..NEWCOMERS {
        let now = newcomer * 60 * SECOND / NEWCOMERS;
        let _ = counters.take(counters.key(newcomer), gcras[newcomer as usize % 3], 1, now);
        // A hundred times a second.
        if newcomer % (NEWCOMERS / 6000) == 0 {
            for (who, (key, allowed)) in busy.iter().zip(&mut allowed).enumerate() {
                *allowed += u32::from(counters.take(*key, gcras[who % 3], 1, now).is_ok());
            }
        }
    }
    for (who, allowed) in allowed.iter().enumerate() {
        let (plan, expected) = &plans[who % 3];
        assert!(allowed.abs_diff(*expected) <= 1, "{plan}: {allowed} instead of {expected}");
    }
    assert_eq!(counters.capacity(), 100_000);
}

#[test]
fn a_table_of_another_size_keeps_the_budgets() {
    let gcra = Gcra::new(&amount(10, TimeUnit::Hour, None));
    let small = Counters::new(160);
    for who in 0..20 {
        small.take(small.key(who), gcra, 10, 5).unwrap();
    }
    for capacity in [1, 16, 160, 10_000] {
        let other = small.resized(capacity);
        let kept =
            (0..20).filter(|who| other.full_at(other.key(who)) == small.full_at(small.key(who)));
        assert_eq!(kept.count(), capacity.min(20), "{capacity}");
    }
}

#[test]
fn the_capacity_is_never_exceeded() {
    for wanted in [0, 1, 2, 15, 16, 17, 100, 1000] {
        let counters = Counters::new(wanted);
        let capacity = counters.capacity();
        assert!((1..=wanted.max(1)).contains(&capacity), "{wanted}: {capacity}");
        let gcra = Gcra::new(&amount(1, TimeUnit::Hour, None));
        for who in 0..2000 {
            let _ = counters.take(counters.key(who), gcra, 1, SECOND);
        }
        assert!(counters.callers() <= capacity);
    }
}

#[test]
fn a_budget_that_never_ends_does_not_overflow() {
    let gcra = Gcra::new(&amount(1, TimeUnit::Day, Some(u32::MAX)));
    let counters = Counters::new(16);
    for _ in 0..10 {
        assert!(counters.take(counters.key(1), gcra, u32::MAX, u64::MAX - 1).is_ok());
    }
    let fast = Gcra::new(&amount(u32::MAX, TimeUnit::Second, None));
    assert!(counters.take(counters.key(2), fast, 1, 0).is_ok());
}

#[test]
fn a_plan_comes_from_the_key_or_the_claim_or_the_default() {
    let free = plan("free", amount(1, TimeUnit::Minute, None));
    let gold = plan("gold", amount(2, TimeUnit::Minute, None));
    let without = settings(vec![free.clone(), gold.clone()]);
    let with = LimitSettings { default_plan: Some("free".into()), ..without.clone() };
    let of_key = || caller("a", "free").with_plan(Some("gold".into()));
    let of = |plan: Value| {
        let claims = json!({"plan": plan}).as_object().cloned().unwrap();
        Principal::new(Some("a".into())).with_claims(claims)
    };
    // With a default and without: the plan, and whether an unknown one is named.
    let cases = [
        (of(json!("gold")), (Some("gold"), false), (Some("gold"), false)),
        (of_key(), (Some("gold"), false), (Some("gold"), false)),
        (of(json!("Gold")), (Some("free"), true), (None, true)),
        (of(json!(["gold"])), (Some("free"), true), (None, true)),
        (of(json!(7)), (Some("free"), true), (None, true)),
        (of(json!(null)), (Some("free"), false), (None, false)),
        (Principal::new(None), (Some("free"), false), (None, false)),
    ];
    for (principal, expected, expected_without) in cases {
        for (settings, expected) in [(&with, expected), (&without, expected_without)] {
            let limits = limits(settings);
            let allowance = limits.allowance(&principal, "p");
            let limited = limits.take(&allowance, 1, None);
            let got = limited.map_or((None, false), |limited| {
                (limited.plan.map(|plan| &*plan.name), limited.is_unknown)
            });
            assert_eq!(got, expected, "{principal:?}");
        }
    }
}

#[test]
fn callers_share_a_budget_only_where_they_are_one() {
    let plans = vec![
        plan("gold", amount(5, TimeUnit::Minute, None)),
        plan("free", amount(5, TimeUnit::Minute, None)),
    ];
    let by = |limit_by| LimitSettings { limit_by, ..settings(plans.clone()) };
    let subject = limits(&by(LimitBy::Subject));
    let client = Limits::new(&by(LimitBy::ClientId), Arc::clone(&subject.counters));
    let claim = LimitBy::Claim(ClaimPath::named("org.id"));
    let claim = Limits::new(&by(claim), Arc::clone(&subject.counters));
    let of_org = |org: Value| {
        let claims = json!({"plan": "gold", "org": {"id": org}});
        Principal::new(Some("s".into())).with_claims(claims.as_object().cloned().unwrap())
    };
    let of_client = |id: &str| caller("s", "gold").with_client_id(Some(id.into()));
    let keys = [
        ("a subject", subject.allowance(&caller("one", "gold"), "p")),
        ("another subject", subject.allowance(&caller("two", "gold"), "p")),
        ("another provider's", subject.allowance(&caller("one", "gold"), "q")),
        ("another plan", subject.allowance(&caller("one", "free"), "p")),
        ("none", subject.allowance(&caller("", "gold"), "p")),
        ("none of another provider", subject.allowance(&caller("", "gold"), "q")),
        ("a client of that name", client.allowance(&of_client("one"), "p")),
        ("a claim of that value", claim.allowance(&of_org(json!("one")), "p")),
        ("a number", claim.allowance(&of_org(json!(1)), "p")),
        ("no scalar", claim.allowance(&of_org(json!(["one"])), "p")),
    ];
    for (index, (name, one)) in keys.iter().enumerate() {
        for (other, two) in &keys[index + 1..] {
            assert_ne!(one.key(), two.key(), "{name} and {other}");
        }
    }
    let again = subject.allowance(&caller("one", "gold"), "p");
    assert_eq!(again.key(), keys[0].1.key());
    let list = claim.allowance(&of_org(json!({"a": 1})), "p");
    assert_eq!(list.key(), keys[9].1.key(), "callers without a value share one budget");
}

#[test]
fn the_key_for_another_service_names_the_provider_first() {
    let settings = LimitSettings {
        mode: LimitMode::Metadata,
        ..settings(vec![plan("gold", amount(5, TimeUnit::Day, None))])
    };
    let limits = limits(&settings);
    let cases = [
        ("cognito", "alice", "cognito/alice"),
        ("cognito", "", "cognito/"),
        ("a/b", "c", "a%2Fb/c"),
        ("a", "b/c", "a/b/c"),
        ("a%2Fb", "c", "a%252Fb/c"),
    ];
    for (provider, subject, expected) in cases {
        let allowance = limits.allowance(&caller(subject, "gold"), provider);
        assert_eq!(allowance.told_key(), Some(expected));
        let limited = limits.take(&allowance, 1, None).unwrap();
        assert_eq!(limited.outcome, None);
        assert_eq!(
            limited.plan.unwrap().told,
            json!({"requests": {"requests_per_unit": 5, "unit": "DAY"}})
        );
    }
}

#[test]
fn a_reload_keeps_the_budgets_of_plans_that_did_not_change() {
    let number = |number| amount(number, TimeUnit::Hour, None);
    let before = limits(&settings(vec![
        plan("same", number(3)),
        plan("changed", number(3)),
        plan("spelled out", number(3)),
    ]));
    let use_up = |limits: &Limits, name: &str| {
        let allowance = limits.allowance(&caller("a", name), "p");
        let is_within = |_: &i32| {
            limits.take(&allowance, 1, None).unwrap().outcome == Some(LimitOutcome::Within)
        };
        (0..10).filter(is_within).count()
    };
    let names = ["same", "spelled out", "changed", "new"];
    for name in &names[..3] {
        assert_eq!(use_up(&before, name), 3);
    }
    for max_callers in [100_000, 1000] {
        let plans = vec![
            plan("new", number(3)),
            plan("changed", number(4)),
            plan("spelled out", amount(3, TimeUnit::Hour, Some(3))),
            plan("same", number(3)),
        ];
        let mut after = limits(&LimitSettings { max_callers, ..settings(plans) });
        after.keep(&before);
        let got = names.map(|name| use_up(&after, name));
        let fresh = if max_callers == 100_000 { [0, 0, 4, 3] } else { [0, 0, 0, 0] };
        assert_eq!(got, fresh, "{max_callers}");
    }
}

/// A moment that is given is the one that counts, and an old one refills nothing
/// twice.
#[test]
fn a_budget_refills_by_the_moment_at_which_a_request_arrived() {
    let limits = limits(&settings(vec![plan("p", amount(2, TimeUnit::Hour, None))]));
    let allowance = limits.allowance(&caller("a", "p"), "p");
    let start = Instant::now();
    let minutes = [0, 0, 0, 29, 31, 31, 29, 0, 61, 31, 61];
    let allowed = minutes.map(|minutes| {
        let arrived = start + Duration::from_secs(60 * minutes);
        limits.take(&allowance, 1, Some(arrived)).unwrap().outcome == Some(LimitOutcome::Within)
    });
    let (yes, no) = (true, false);
    assert_eq!(allowed, [yes, yes, no, no, yes, no, no, no, yes, no, no]);
}

/// Where Envoy is told the limits, there is nothing to remember; what was counted
/// before is kept for when this process counts again.
#[test]
fn the_table_is_made_once_this_process_counts() {
    let plans = vec![plan("p", amount(3, TimeUnit::Hour, None))];
    let of =
        |mode, max_callers| limits(&LimitSettings { mode, max_callers, ..settings(plans.clone()) });
    let left = |limits: &Limits| {
        let allowance = limits.allowance(&caller("a", "p"), "p");
        let outcome = limits.take(&allowance, 1, None).unwrap().outcome;
        (outcome == Some(LimitOutcome::Within), limits.counters.made().len())
    };
    let told = of(LimitMode::Metadata, 160);
    assert_eq!(told.counters.callers(), 0);
    assert_eq!(left(&told), (false, 0));
    let mut resized = of(LimitMode::Metadata, 320);
    resized.keep(&told);
    assert_eq!((left(&resized), resized.counters.capacity()), ((false, 0), 320));
    for mode in [LimitMode::Local, LimitMode::Shadow] {
        let mut counting = of(mode, 160);
        counting.keep(&told);
        assert_eq!(counting.counters.made().len(), 160, "{mode:?}");
    }
    let mut local = of(LimitMode::Local, 160);
    local.keep(&of(LimitMode::Metadata, 160));
    assert_eq!([(); 2].map(|()| left(&local)), [(true, 160); 2]);
    let mut meanwhile = of(LimitMode::Metadata, 160);
    meanwhile.keep(&local);
    assert_eq!(left(&meanwhile), (false, 160));
    let mut again = of(LimitMode::Local, 160);
    again.keep(&meanwhile);
    assert_eq!([(); 2].map(|()| left(&again).0), [true, false]);
}

/// Budgets refill by a clock of their own, which never steps.
#[test]
fn steps_of_the_clock_neither_refill_a_budget_nor_use_it() {
    let key = ApiKeySettings {
        name: "ada".into(),
        hash: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"key")
            .as_ref()
            .try_into()
            .unwrap(),
        scopes: Vec::new(),
        expires_at: None,
        not_before: None,
        revoked: false,
        claims: serde_json::Map::new(),
        plan: Some("free".into()),
    };
    let settings = AuthSettings {
        limits: Some(settings(vec![plan("free", amount(3, TimeUnit::Hour, None))])),
        ..AuthSettings::default()
    };
    let provider = Arc::new(ApiKeys::new("keys", None, &[key]));
    let cache = Arc::new(TokenCache::of(&settings));
    let engine = Engine::new(&settings, vec![provider], cache);
    let headers = [("authorization", b"Bearer key".as_slice())].into_iter().collect();
    let request = Request { method: "GET", path: "/", headers, ..Request::default() };
    let mut reasons = Vec::new();
    for hours in [0.0, -24.0, 24.0, 0.0, 1e6, -1e6, 0.0] {
        let now = UnixTime::from_seconds(1_800_000_000.0 + hours * 3600.0);
        reasons.push(engine.check_now(&request, now).unwrap().reason);
    }
    let (ok, over) = (Reason::Ok, Reason::RateLimited);
    assert_eq!(reasons, [ok, ok, ok, over, over, over, over]);
}

/// Of a burst of ten, two are a fifth. A burst that has no fifth is never near.
#[test]
fn a_budget_is_nearly_used_when_less_than_a_fifth_is_left() {
    for (burst, expected) in [(10, vec![9, 10]), (5, vec![5]), (4, vec![])] {
        let limits = limits(&settings(vec![plan("p", amount(60, TimeUnit::Hour, Some(burst)))]));
        let allowance = limits.allowance(&caller("one", "p"), "keys");
        let nearly =
            (1..=burst + 2).filter(|_| limits.take(&allowance, 1, None).unwrap().is_nearly_over);
        assert_eq!(nearly.collect::<Vec<_>>(), expected, "{burst}");
    }
}

#[test]
fn operators_are_told_plan_budget_and_amount() {
    let tokens = Some(amount(9, TimeUnit::Day, None));
    let free = PlanSettings { tokens, ..plan("free", amount(60, TimeUnit::Minute, Some(4))) };
    let of_mode = |mode| LimitSettings { mode, ..settings(vec![free.clone()]) };
    let (ada, stranger) = (caller("ada", "free"), caller("ada", "none"));
    let of = "plan free for p/ada: ";
    for (mode, cost, principal, expected) in [
        (LimitMode::Local, 1, &ada, format!("{of}within 60 a minute, 4 at once")),
        (
            LimitMode::Local,
            4,
            &ada,
            format!("{of}within 60 a minute, 4 at once; the route has cost: 4"),
        ),
        (
            LimitMode::Shadow,
            5,
            &ada,
            format!("{of}60 a minute, 4 at once, 4 left, 5 wanted, enough in 1 s"),
        ),
        (
            LimitMode::Metadata,
            1,
            &ada,
            format!("{of}Envoy is told 60 requests a minute, 9 tokens a day"),
        ),
        (
            LimitMode::Metadata,
            3,
            &ada,
            format!("{of}Envoy is told 60 requests a minute, 9 tokens a day, cost: 3"),
        ),
        (
            LimitMode::Local,
            1,
            &stranger,
            "it names a plan that does not exist; no plan limits it".into(),
        ),
    ] {
        let limits = limits(&of_mode(mode));
        let limited = limits.take(&limits.allowance(principal, "p"), cost, None);
        assert_eq!(limits.describe(limited.as_ref(), principal, "p"), expected);
    }
}

#[test]
fn a_wait_is_told_in_whole_seconds() {
    let cases = [(0, 1, "1"), (0, 999_999_999, "1"), (1, 0, "1"), (1, 1, "2"), (59, 500, "60")];
    for (seconds, nanos, expected) in cases {
        assert_eq!(Wait::new(Duration::new(seconds, nanos), 0).seconds, expected);
    }
}
