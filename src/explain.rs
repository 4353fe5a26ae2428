//! Explains decisions, with timeouts by tokio's clock.

use std::time::Duration;

use crate::{engine::Engine, request::Request, time::UnixTime};

pub use claimgate_core::explain::*;

/// Decides `request` at the moment `now` as the service would, waiting for
/// providers until `limit`, and explains the decision. Must run on tokio, with
/// its time enabled.
pub async fn explain(
    engine: &Engine,
    request: &Request<'_>,
    now: UnixTime,
    limit: Duration,
) -> Explanation {
    explain_telling(engine, request, now, limit, |_| {}).await
}

/// The same; `waiting` is told which providers it waits for longer than the
/// service would.
pub async fn explain_telling(
    engine: &Engine,
    request: &Request<'_>,
    now: UnixTime,
    limit: Duration,
    waiting: impl Fn(&[&str]) + Send + Sync,
) -> Explanation {
    let sleep = tokio::time::sleep;
    claimgate_core::explain::explain(engine, request, now, limit, sleep, waiting).await
}
