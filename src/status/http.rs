//! The status page over HTTP.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use claimgate_core::text::visible_json;
use tracing::error;

use super::{StatusPage, filter::Filter, page, report::Report};

/// `/` and `/status.json`; both are 404 where the page is off.
pub fn router(status_page: Arc<StatusPage>) -> Router {
    Router::new().route("/", get(html)).route("/status.json", get(json)).with_state(status_page)
}

async fn html(
    State(status_page): State<Arc<StatusPage>>,
    headers: HeaderMap,
    filter: Query<Filter>,
) -> Response {
    let page = match report(&status_page, &headers) {
        Ok(report) => page::page(&report, &filter),
        Err(rejection) => return rejection.into_response(),
    };
    match page {
        Ok(page) => (PRIVATE, BROWSER_POLICIES.clone(), Html(page)).into_response(),
        Err(error) => {
            error!(%error, "status page can't be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn json(
    State(status_page): State<Arc<StatusPage>>,
    headers: HeaderMap,
    filter: Query<Filter>,
) -> Response {
    let mut report = match report(&status_page, &headers) {
        Ok(report) => report,
        Err(rejection) => return rejection.into_response(),
    };
    report.narrow_to(&filter);
    match serde_json::to_string(&report) {
        Ok(json) => (PRIVATE, JSON, visible_json(&json).into_owned()).into_response(),
        Err(error) => {
            error!(%error, "status page can't be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

const PRIVATE: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// What the browser must not do with the page.
static BROWSER_POLICIES: LazyLock<HeaderMap> = LazyLock::new(|| {
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

type Rejection = (StatusCode, &'static str);

/// The report, if this client may have it.
fn report(status_page: &StatusPage, headers: &HeaderMap) -> Result<Report, Rejection> {
    let report = status_page.report().ok_or((StatusCode::NOT_FOUND, PAGE_IS_OFF))?;
    match status_page.is_on_by_address() && !is_addressed_directly(headers) {
        true => Err((StatusCode::MISDIRECTED_REQUEST, HOST_IS_A_NAME)),
        false => Ok(report),
    }
}

const PAGE_IS_OFF: &str = "the status page is off; server.admin.status_page: true turns it on\n";

const HOST_IS_A_NAME: &str = "the status page is shown under an IP address or localhost only; \
                     set server.admin.status_page: true to show it under any name\n";

/// Whether the request's host is an IP address or localhost. The owner of any
/// other name could make it resolve to this address and read the page with a
/// script (DNS rebinding).
fn is_addressed_directly(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
