//! Runs cases.

use std::time::{Duration, Instant};

use super::{
    case::Case,
    expect::Mismatch,
    harness::{Harness, HarnessError},
    placeholder::fill_in,
};
use crate::{
    explain::{Explanation, explain},
    time::UnixTime,
};

/// The result of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Every difference from the expectations; empty if the case passed.
    pub mismatches: Vec<Mismatch>,
    /// The decision, explained.
    pub explanation: Explanation,
    /// How long it took.
    pub duration: Duration,
}

impl CaseReport {
    /// Whether the decision was as expected.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Runs a case against the config of `harness`; `now` is the time of a case
/// that names none. Needs a tokio runtime with time.
///
/// # Errors
/// The case can't be prepared.
pub async fn run(
    harness: &mut Harness,
    case: &Case,
    now: UnixTime,
) -> Result<CaseReport, HarnessError> {
    let started = Instant::now();
    let now = case.at.unwrap_or(now);
    let prepared = harness.prepare(case, now)?;
    let mut sent = case.request.clone();
    if let Some(token) = &prepared.token
        && !fill_in(token, &mut sent.path, &mut sent.headers)
    {
        sent.present(token, prepared.engine.token_sources())?;
    }
    let request = sent.request();
    for _ in 0..case.requests_before {
        let give_up = tokio::time::sleep(harness.check_timeout());
        prepared.engine.check_until(&request, now, give_up).await;
    }
    let explanation = explain(&prepared.engine, &request, now, harness.check_timeout()).await;
    let found = prepared.engine.sources().find(&request).ok();
    let tokens = [prepared.token.as_deref(), found.as_ref().map(|found| &*found.token)];
    let mismatches = case.expect.compare(&request, &explanation, &tokens);
    let duration = started.elapsed();
    Ok(CaseReport { name: case.name.clone(), mismatches, explanation, duration })
}
