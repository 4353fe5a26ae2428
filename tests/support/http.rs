//! Requests to the admin port over HTTP.

/// The status and the body at this path.
pub(crate) async fn fetch(address: &str, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The value of a metric's series, 0 if there is none.
pub(crate) async fn metric(address: &str, series: &str) -> f64 {
    let (_, metrics) = fetch(address, "/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}
