//! Problems that an operator should know of, derived from the report.

use serde::Serialize;

use super::{Report, requirement::list};
use crate::{readiness::State, reason::Reason};

/// An API key that expires within this many seconds is a problem: two weeks.
const EXPIRY_WARNING: f64 = 14.0 * 86_400.0;

/// How many problems of one kind are listed one by one.
const MAX_LISTED: usize = 10;

/// A problem.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// A sentence.
    pub text: String,
    /// The section of the page with details.
    pub section: &'static str,
}

/// The problems, the worst first.
pub(super) fn of(report: &Report, readiness: &State) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |section, text| problems.push(Problem { text, section });
    if let Some(failed) = &report.config.failed_reload {
        let text =
            format!("the config file can't be loaded, an older one is in force: {}", failed.error);
        add("config", text);
    }
    if !report.config.enabled {
        add("config", "authentication is switched off: every request is allowed".to_owned());
    }
    match report.config.warnings.as_slice() {
        [] => {}
        [one] => add("config", format!("the configuration may not do what is meant: {one}")),
        many => {
            let count = many.len();
            add("config", format!("the configuration may not do what is meant in {count} places"));
        }
    }
    if *readiness == State::Draining {
        add("config", "this instance is shutting down".to_owned());
    }
    if let State::Waiting(missing) = readiness
        && !missing.is_empty()
    {
        add("providers", format!("this instance is not ready, it waits for {}", list(missing)));
    }
    keys(report, &mut add);
    for (reason, text) in [
        (Reason::Internal, "checks ran into a defect of Claimgate; see the log, and report it"),
        (Reason::UnknownRoute, "Envoy names a route that the configuration does not have"),
    ] {
        if report.checks.reasons.iter().any(|counted| counted.reason == reason) {
            add("checks", text.to_owned());
        }
    }
    api_keys(report, &mut add);
    problems
}

fn keys(report: &Report, add: &mut impl FnMut(&'static str, String)) {
    let mut failing = report.providers.iter().filter_map(|provider| {
        let keys = provider.keys.as_ref()?;
        let name = &provider.name;
        let error = keys.last_error.as_deref();
        match (keys.usable.is_empty(), error) {
            (true, Some(error)) => Some(format!("{name} has no signing keys: {error}")),
            (true, None) => Some(format!("{name} has no signing keys yet")),
            (false, Some(error)) => Some(format!("the keys of {name} can't be renewed: {error}")),
            (false, None) => None,
        }
    });
    for text in failing.by_ref().take(MAX_LISTED) {
        add("providers", text);
    }
    let more = failing.count();
    if more > 0 {
        add("providers", format!("{more} more providers have such a problem"));
    }
}

fn api_keys(report: &Report, add: &mut impl FnMut(&'static str, String)) {
    let expired = report.api_keys.iter().filter(|key| key.state == "expired");
    let soon = report.api_keys.iter().filter(|key| {
        let ends =
            |at: super::Moment| at.0.as_seconds() - report.now.0.as_seconds() < EXPIRY_WARNING;
        key.state == "valid" && key.expires_at.is_some_and(ends)
    });
    let count = |count: usize| match count {
        1 => "1 API key".to_owned(),
        count => format!("{count} API keys"),
    };
    let (expired, soon) = (expired.count(), soon.count());
    if expired > 0 {
        add("api-keys", format!("{} expired", count(expired)));
    }
    if soon > 0 {
        add("api-keys", format!("{} will expire within 14 days", count(soon)));
    }
}
