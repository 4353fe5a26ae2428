//! The admin port: `/livez`, `/readyz` and `/metrics`.

use std::{collections::VecDeque, convert::Infallible, pin::pin, time::Duration};

use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tracing::debug;

use crate::readiness::{Readiness, State};

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long a client may take to send the headers of a request, also of a
/// further one over the same connection.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// After this, a connection is closed gracefully.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// How long the client may then take to read the last response.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `router` over at most `max_connections` at a time. At the limit, a new
/// connection evicts the oldest one: a probe is answered within milliseconds,
/// so it is never the oldest beside idle connections.
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    max_connections: usize,
) -> Infallible {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // Out of descriptors, axum retries a second later.
        let (stream, _) = Listener::accept(&mut listener).await;
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= max_connections
            && let Some(oldest) = oldest_first.pop_front()
        {
            debug!("the oldest admin connection is closed for a new one");
            oldest.abort();
            // Wait for its descriptor: otherwise a burst of connections would
            // use up all of them, and accepting would pause for a second.
            connections.join_next().await;
        }
        oldest_first.push_back(connections.spawn(serve_connection(stream, router.clone())));
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = match timeout(CONNECTION_LIFETIME, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "admin connection ended with an error");
    }
}

/// The routes of the admin port; `metrics` renders the current metrics.
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
