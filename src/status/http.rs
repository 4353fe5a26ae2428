//! The status page over HTTP.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tracing::error;

use super::{Board, page, report::Report};

/// `/` and `/status.json`; both are 404 where the page is off.
pub fn router(board: Arc<Board>) -> Router {
    Router::new().route("/", get(html)).route("/status.json", get(json)).with_state(board)
}

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wish {
    /// Denials of this request alone.
    request_id: String,
}

async fn html(State(board): State<Arc<Board>>, headers: HeaderMap, wish: Query<Wish>) -> Response {
    let page = match report(&board, &headers) {
        Ok(report) => page::page(&report, wish.request_id.trim()),
        Err(refusal) => return refusal.into_response(),
    };
    match page {
        Ok(page) => (PRIVATE, BROWSER.clone(), Html(page)).into_response(),
        Err(error) => {
            error!(%error, "status page can't be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn json(State(board): State<Arc<Board>>, headers: HeaderMap, wish: Query<Wish>) -> Response {
    let mut report = match report(&board, &headers) {
        Ok(report) => report,
        Err(refusal) => return refusal.into_response(),
    };
    if !wish.request_id.trim().is_empty() {
        report.narrow_to(&wish.request_id);
    }
    (PRIVATE, Json(report)).into_response()
}

const PRIVATE: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// What a browser must not do with the page.
static BROWSER: LazyLock<HeaderMap> = LazyLock::new(|| {
    let policy = HeaderValue::try_from(page::POLICY.as_str());
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let same_origin = HeaderValue::from_static("same-origin");
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone()),
        (HeaderName::from_static("cross-origin-resource-policy"), same_origin),
    ])
});

type Refusal = (StatusCode, &'static str);

/// The report, if this client may have it.
fn report(board: &Board, headers: &HeaderMap) -> Result<Report, Refusal> {
    let report = board.report().ok_or((StatusCode::NOT_FOUND, OFF))?;
    match board.is_on_by_address() && !is_addressed_directly(headers) {
        true => Err((StatusCode::MISDIRECTED_REQUEST, NAMES)),
        false => Ok(report),
    }
}

const OFF: &str = "the status page is off; server.admin.status_page: true turns it on\n";

const NAMES: &str = "the status page is shown under an IP address or localhost only; \
                     set server.admin.status_page: true to show it under any name\n";

/// Whether the browser went to an address and to no name. Where a name leads
/// is up to its owner, who could make it lead here and read the page with a
/// script of theirs (DNS rebinding).
fn is_addressed_directly(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
