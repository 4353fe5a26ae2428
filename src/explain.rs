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
    claimgate_core::explain::explain(engine, request, now, limit, tokio::time::sleep).await
}
