use std::{sync::Arc, time::Duration};

use smallvec::{SmallVec, smallvec};

use super::*;
use crate::{
    decision::{CacheResult, Caller, Decision, Denial, ProviderId, Verdict},
    identity::Identity,
    principal::Principal,
};

fn metrics() -> Metrics {
    Metrics::new("1.2.3", "abc").expect("metrics that can be set up")
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.encode().expect("text");
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(is_value));
    line.map(|line| line[series.len()..].trim().parse().expect("a number"))
}

fn is_value(rest: &str) -> bool {
    rest.starts_with(' ')
}

fn allowed_by(provider: u16) -> Decision<'static> {
    Decision {
        provider: Some(ProviderId(provider)),
        answers: smallvec![(ProviderId(provider), AnswerKind::Authenticated)],
        cache: Some(CacheResult::Hit),
        ..Decision::new(Verdict::Allow, Reason::Ok)
    }
}

const OF_A: &str = r#"claimgate_checks_total{decision="allow",provider="a",reason="ok"}"#;
const OF_B: &str = r#"claimgate_checks_total{decision="allow",provider="b",reason="ok"}"#;

#[test]
fn every_family_is_there_from_the_start() {
    let metrics = metrics();
    let _meters = CheckMeters::of_providers(&metrics, ["a"]);
    let _fetches = metrics.fetch_meter("a");
    metrics.set_key_expiries([("keys", "frontend", UnixTime::from_seconds(1.5))]);
    metrics.config_loaded(UnixTime::from_seconds(1_800_000_000.0));
    let text = metrics.encode().expect("text");
    for series in [
        OF_A,
        r#"claimgate_checks_total{decision="deny",provider="",reason="missing_token"} 0"#,
        r#"claimgate_check_duration_seconds_bucket{decision="allow",le="0.000005"} 0"#,
        r#"claimgate_check_duration_seconds_bucket{decision="deny",le="+Inf"} 0"#,
        r#"claimgate_provider_answers_total{answer="not_mine",provider="a"} 0"#,
        r#"claimgate_token_cache_total{result="wait"} 0"#,
        "claimgate_token_cache_entries 0",
        r#"claimgate_jwks_fetches_total{provider="a",result="not_modified"} 0"#,
        r#"claimgate_jwks_fetch_duration_seconds_count{provider="a"} 0"#,
        r#"claimgate_jwks_keys{provider="a"} 0"#,
        r#"claimgate_jwks_last_success_timestamp_seconds{provider="a"} 0"#,
        r#"claimgate_config_reloads_total{result="failure"} 0"#,
        "claimgate_config_last_reload_success_timestamp_seconds 1800000000",
        r#"claimgate_api_key_expiry_timestamp_seconds{key="frontend",provider="keys"} 1.5"#,
        "claimgate_in_flight_checks 0",
        r#"claimgate_build_info{revision="abc",version="1.2.3"} 1"#,
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(series)), "{series} not in\n{text}");
    }
}

#[test]
fn a_check_is_counted_in_every_family_that_it_concerns() {
    let metrics = metrics();
    let meters = CheckMeters::of_providers(&metrics, ["a", "b"]);
    let dropped = Identity { dropped: vec!["x-groups".into()], ..Identity::default() };
    let refused = Decision {
        provider: Some(ProviderId(1)),
        caller: Some(Caller {
            principal: Arc::new(Principal::default()),
            identity: Arc::new(dropped),
        }),
        answers: SmallVec::from_slice(&[
            (ProviderId(0), AnswerKind::NotMine),
            (ProviderId(1), AnswerKind::Refused),
        ]),
        cache: Some(CacheResult::Miss),
        ..Decision::deny(Denial::InvalidToken, Reason::Expired)
    };
    meters.record(&refused, Duration::from_micros(20));
    meters.record(&allowed_by(0), Duration::from_secs(2));
    for (series, expected) in [
        (r#"claimgate_checks_total{decision="deny",provider="b",reason="expired"}"#, 1.0),
        (OF_A, 1.0),
        (OF_B, 0.0),
        (r#"claimgate_provider_answers_total{answer="not_mine",provider="a"}"#, 1.0),
        (r#"claimgate_provider_answers_total{answer="refused",provider="b"}"#, 1.0),
        (r#"claimgate_token_cache_total{result="miss"}"#, 1.0),
        (r#"claimgate_token_cache_total{result="hit"}"#, 1.0),
        (r#"claimgate_check_duration_seconds_bucket{decision="deny",le="0.00001"}"#, 0.0),
        (r#"claimgate_check_duration_seconds_bucket{decision="deny",le="0.000025"}"#, 1.0),
        (r#"claimgate_check_duration_seconds_bucket{decision="allow",le="1"}"#, 0.0),
        (r#"claimgate_check_duration_seconds_bucket{decision="allow",le="+Inf"}"#, 1.0),
        (r#"claimgate_check_duration_seconds_sum{decision="allow"}"#, 2.0),
        (r#"claimgate_check_duration_seconds_count{decision="deny"}"#, 1.0),
        (r#"claimgate_identity_headers_dropped_total{header="x-groups"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
    meters.record(&allowed_by(0), Duration::from_secs(2));
    assert_eq!(value(&metrics, OF_A), Some(2.0), "nothing is counted twice or lost");
}

#[test]
fn a_check_is_in_flight_until_it_is_decided() {
    let metrics = metrics();
    let meters = CheckMeters::of_providers(&metrics, []);
    let one = meters.in_flight();
    let two = meters.in_flight();
    assert_eq!(value(&metrics, "claimgate_in_flight_checks"), Some(2.0));
    drop((one, two));
    assert_eq!(value(&metrics, "claimgate_in_flight_checks"), Some(0.0));
}

#[test]
fn counts_go_on_across_a_reload_and_leave_with_their_provider() {
    let metrics = metrics();
    let first = CheckMeters::of_providers(&metrics, ["a", "b"]);
    let fetches = metrics.fetch_meter("b");
    first.record(&allowed_by(0), Duration::ZERO);
    first.record(&allowed_by(1), Duration::ZERO);
    assert_eq!(value(&metrics, OF_B), Some(1.0));

    let second = CheckMeters::of_providers(&metrics, ["c", "a"]);
    // A check that began before the reload and one after it.
    first.record(&allowed_by(0), Duration::ZERO);
    first.record(&allowed_by(1), Duration::ZERO);
    drop(first);
    second.record(&allowed_by(1), Duration::ZERO);
    fetches.fetched(FetchResult::Success, Duration::ZERO, 2, UnixTime::now());
    assert_eq!(value(&metrics, OF_A), Some(3.0));
    let text = metrics.encode().expect("text");
    assert!(!text.contains(r#"provider="b""#), "{text}");
}

#[test]
fn counts_of_many_threads_add_up() {
    let metrics = metrics();
    let meters = CheckMeters::of_providers(&metrics, ["a"]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    meters.record(&allowed_by(0), Duration::ZERO);
                }
            });
        }
        scope.spawn(|| metrics.encode().expect("text"));
    });
    assert_eq!(value(&metrics, OF_A), Some(8000.0));
}

#[test]
fn fetches_are_counted_and_keys_stay_known_after_a_failure() {
    let metrics = metrics();
    let meter = metrics.fetch_meter("a");
    let at = UnixTime::from_seconds;
    meter.fetched(FetchResult::Success, Duration::from_millis(30), 2, at(100.0));
    meter.fetched(FetchResult::Failure, Duration::from_secs(5), 2, at(200.0));
    for (series, expected) in [
        (r#"claimgate_jwks_fetches_total{provider="a",result="success"}"#, 1.0),
        (r#"claimgate_jwks_fetches_total{provider="a",result="failure"}"#, 1.0),
        (r#"claimgate_jwks_fetch_duration_seconds_count{provider="a"}"#, 2.0),
        (r#"claimgate_jwks_keys{provider="a"}"#, 2.0),
        (r#"claimgate_jwks_last_success_timestamp_seconds{provider="a"}"#, 100.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
}

#[test]
fn keys_that_left_the_configuration_are_no_longer_exported() {
    let metrics = metrics();
    let at = UnixTime::from_seconds(5.0);
    metrics.set_key_expiries([("p", "one", at), ("p", "two", at)]);
    metrics.set_key_expiries([("p", "two", at + Duration::from_secs(1))]);
    let of = |key: &str| {
        let labels = format!(r#"{{key="{key}",provider="p"}}"#);
        value(&metrics, &format!("claimgate_api_key_expiry_timestamp_seconds{labels}"))
    };
    assert_eq!((of("one"), of("two")), (None, Some(6.0)));
}

#[test]
fn reloads_are_counted_and_only_good_ones_dated() {
    let metrics = metrics();
    let at = UnixTime::from_seconds;
    metrics.config_reloaded(true, at(10.0));
    metrics.config_reloaded(false, at(20.0));
    for (series, expected) in [
        (r#"claimgate_config_reloads_total{result="success"}"#, 1.0),
        (r#"claimgate_config_reloads_total{result="failure"}"#, 1.0),
        ("claimgate_config_last_reload_success_timestamp_seconds", 10.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
}

#[test]
fn every_reason_is_allowed_or_denied_in_one_way() {
    let allowed: Vec<_> =
        Reason::ALL.iter().filter(|reason| checks::decision_of(**reason) == "allow").collect();
    assert_eq!(allowed, [&Reason::Ok, &Reason::Public, &Reason::Disabled]);
}
