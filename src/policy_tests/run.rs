//! Runs cases.

use std::time::{Duration, Instant};

use super::{
    Case, Mismatch,
    stage::{Stage, StageError, fill_in},
};
use crate::{
    explain::{Explanation, explain},
    time::UnixTime,
};

/// What came of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// What came out otherwise than expected; empty if the case passed.
    pub mismatches: Vec<Mismatch>,
    /// What came out.
    pub explanation: Explanation,
    /// How long it took.
    pub duration: Duration,
}

impl CaseReport {
    /// Whether everything came out as expected.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Runs a case against the config of `stage`; `now` is the moment of cases
/// that name none. Needs a tokio runtime with time.
///
/// # Errors
/// The case can't be set up.
pub async fn run(stage: &mut Stage, case: &Case, now: UnixTime) -> Result<CaseReport, StageError> {
    let started = Instant::now();
    let now = case.at.unwrap_or(now);
    let scene = stage.set(case, now)?;
    let mut sent = case.request.clone();
    if let Some(token) = &scene.token
        && !fill_in(token, &mut sent.path, &mut sent.headers)
    {
        sent.present(token, scene.engine.token_sources())?;
    }
    let request = sent.request();
    let explanation = explain(&scene.engine, &request, now, stage.check_timeout()).await;
    let found = scene.engine.sources().find(&request).ok();
    let tokens = [scene.token.as_deref(), found.as_ref().map(|found| &*found.token)];
    let mismatches = case.expect.compare(&request, &explanation, &tokens);
    let duration = started.elapsed();
    Ok(CaseReport { name: case.name.clone(), mismatches, explanation, duration })
}
