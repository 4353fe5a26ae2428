//! Waiting for conditions.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// The time after which a condition counts as failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Polls until the condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{what} did not come true"));
}
