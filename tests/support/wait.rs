//! Waiting for what takes a moment to come true.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// What takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Asks again and again until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{what} did not come true"));
}
