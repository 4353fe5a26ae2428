//! The status page over HTTP.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use super::{Board, report::Report};

/// `/` and `/status.json`; both are 404 where the page is off.
pub fn router(board: Arc<Board>) -> Router {
    Router::new().route("/status.json", get(json)).with_state(board)
}

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wish {
    /// Denials of this request alone.
    request_id: String,
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

const PRIVATE: [(header::HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

type Refusal = (StatusCode, &'static str);

/// The report, if this client may have it.
fn report(board: &Board, headers: &HeaderMap) -> Result<Report, Refusal> {
    let report = board.report().ok_or((StatusCode::NOT_FOUND, ""))?;
    match board.is_on_by_address() && !is_addressed_directly(headers) {
        true => Err((StatusCode::MISDIRECTED_REQUEST, NAMES)),
        false => Ok(report),
    }
}

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
