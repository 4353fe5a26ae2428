//! The admin port: `/livez`, `/readyz` and `/metrics`.

use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::app::readiness::{Readiness, State};

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The admin port's pages; `metrics` renders the metrics of this moment.
pub fn router<M>(readiness: Readiness, metrics: M) -> Router
where
    M: Fn() -> String + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics())))
        .with_state(readiness)
}

async fn readyz(Extract(readiness): Extract<Readiness>) -> Response {
    let not_ready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match readiness.state() {
        State::Ready => "ok\n".into_response(),
        State::Draining => not_ready("shutting down\n".into()),
        State::Waiting(missing) if missing.is_empty() => not_ready("starting\n".into()),
        State::Waiting(missing) => not_ready(missing.join("\n") + "\n"),
    }
}
