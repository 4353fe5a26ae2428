//! Deciding a request and recording what was decided.
//!
//! The only file that knows how a decision is made, timed, counted and
//! logged.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use claimgate::{
    Decision, Engine, Reason, Request, decision::Denial, envoy::log, metrics::CheckMeters,
    time::UnixTime,
};
use futures_util::FutureExt;
use tracing::error;

use crate::{effects::Effects, request::OwnedRequest};

/// Everything that one configuration decides with.
pub(crate) struct Live {
    /// Decides.
    pub(crate) engine: Engine,
    /// Counts.
    pub(crate) meters: CheckMeters,
    /// How long a decision may wait for I/O.
    pub(crate) check_timeout: Duration,
}

/// Decides at once and fills `effects`; `false` if the decision needs I/O.
pub(crate) fn now(
    live: &Live,
    request: &Request<'_>,
    started: Instant,
    effects: &mut Effects,
) -> bool {
    let _in_flight = live.meters.in_flight();
    let Some(decision) = live.engine.check_now(request, UnixTime::now()) else { return false };
    finish(live, request, &decision, started, effects);
    true
}

/// Decides, waiting for I/O as long as the configuration allows. Giving up
/// does not end the I/O: the next request may find it done.
pub(crate) async fn later(live: Arc<Live>, request: OwnedRequest, started: Instant) -> Effects {
    let decided = async {
        let _in_flight = live.meters.in_flight();
        let request = request.borrow();
        let give_up = tokio::time::sleep(live.check_timeout);
        let decision = live.engine.check_until(&request, UnixTime::now(), give_up).await;
        let mut effects = Effects::default();
        finish(&live, &request, &decision, started, &mut effects);
        effects
    };
    match AssertUnwindSafe(decided).catch_unwind().await {
        Ok(effects) => effects,
        Err(_) => {
            let mut effects = Effects::default();
            panicked(&live, started, &mut effects);
            effects
        }
    }
}

/// The denial in place of a decision that panicked.
#[cold]
pub(crate) fn panicked(live: &Live, started: Instant, effects: &mut Effects) {
    error!("a check panicked and is denied");
    let decision = Decision::deny(Denial::Internal, Reason::Internal);
    // It may be the request that something panicked over.
    finish(live, &Request::default(), &decision, started, effects);
}

/// Counts and logs a decision.
fn finish(
    live: &Live,
    request: &Request<'_>,
    decision: &Decision<'_>,
    started: Instant,
    effects: &mut Effects,
) {
    effects.fill(&live.engine, request, decision);
    let elapsed = started.elapsed();
    live.meters.record(decision, elapsed);
    let provider = decision.provider.map(|id| live.engine.provider(id).name());
    log::check(request, decision, provider, elapsed);
    if let Some(caller) = &decision.caller
        && !caller.identity.dropped.is_empty()
    {
        log::dropped_headers(request, &caller.identity.dropped);
    }
}
