//! Decides a request with [`claimgate::check`], as every door does. No other file
//! of this crate calls it.

use std::{sync::Arc, time::Instant};

use claimgate::check::{self, Snapshot};
use claimgate_core::{Decision, Reason, Request, decision::Denial};
use tracing::error;

use crate::{
    effects::Effects,
    request::{BorrowedRequest, OwnedRequest},
};

/// Decides at once; `None` if the decision needs I/O.
pub(crate) fn now(
    snapshot: &Snapshot,
    request: &BorrowedRequest<'_>,
    started: Instant,
) -> Option<Box<Effects>> {
    check::now(snapshot, request, started)
}

/// Decides, waiting for I/O as long as the configuration allows.
pub(crate) async fn later(
    snapshot: Arc<Snapshot>,
    request: OwnedRequest,
    started: Instant,
) -> Box<Effects> {
    check::later(&snapshot, &request, started).await
}

/// The denial of a request whose hook panicked outside of its decision.
#[cold]
pub(crate) fn panicked(snapshot: &Snapshot) -> Effects {
    error!("a hook panicked and its request is denied");
    let started = Instant::now();
    let decision = Decision::deny(Denial::Internal, Reason::Internal);
    let mut effects = Effects::default();
    // It may be the request that something panicked over.
    effects.fill(&snapshot.engine, &Request::default(), &decision);
    snapshot.meters.record(&decision, started.elapsed());
    effects
}
