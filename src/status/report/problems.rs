//! What is wrong right now, so that nobody has to look for it.

use serde::Serialize;

use super::Report;
use crate::{readiness::State, reason::Reason};

/// API keys that expire so soon, in seconds, are a problem: two weeks.
const SOON: f64 = 14.0 * 86_400.0;

/// How many problems of one kind are told one by one.
const TOLD: usize = 10;

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// What; one sentence.
    pub text: String,
    /// The section of the page that tells more.
    pub section: &'static str,
}

/// The worst first.
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
    if *readiness == State::Draining {
        add("config", "this instance is shutting down".to_owned());
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
    for text in failing.by_ref().take(TOLD) {
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
        let ends = |at: super::Moment| at.0.as_seconds() - report.now.0.as_seconds() < SOON;
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
