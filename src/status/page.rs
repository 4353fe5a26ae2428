//! The report as HTML.
//!
//! Every value goes through the template's escaping and, where a client may
//! have chosen it, through the filter `visible`. The page has one style and
//! one script, whose hashes are in the Content-Security-Policy, so that no
//! injected script runs.

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use base64_simd::STANDARD;

use super::{
    DOCUMENTATION,
    chart::{self, Bar, Stacked},
    filter::Filter,
    report::{ApiKeyReport, DenialReport, ProviderReport, ReasonReport, Report, RouteReport},
    text::Moment,
};

mod denied;

use denied::Denied;

const STYLES: &str = include_str!("../../templates/status.css");
const SCRIPT: &str = include_str!("../../templates/status.js");

/// How many API keys are shown; the rest is in the JSON.
const FIRST_API_KEYS: usize = 200;

/// How many routes are shown; the rest is in the JSON.
const FIRST_ROUTES: usize = 200;

/// Up to this many providers are unfolded; of more, only the failing ones.
const MAX_OPEN_PROVIDERS: usize = 8;

/// The `Content-Security-Policy` of the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| {
        STANDARD.encode_to_string(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLES),
        hash(SCRIPT)
    )
});

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'r> {
    title: String,
    styles: &'static str,
    script: &'static str,
    documentation: &'static str,
    search: &'r str,
    found: Vec<&'r DenialReport>,
    report: &'r Report,
    now: &'r Moment,
    chart: Stacked,
    reasons: Vec<Reason<'r>>,
    denied: Denied<'r>,
    first_routes: &'r [RouteReport],
    more_routes: usize,
    first_api_keys: &'r [ApiKeyReport],
    more_api_keys: usize,
}

/// A reason and its small chart.
struct Reason<'r> {
    report: &'r ReasonReport,
    bars: Vec<Bar>,
}

impl Page<'_> {
    fn is_open(&self, provider: &ProviderReport) -> bool {
        self.report.providers.len() <= MAX_OPEN_PROVIDERS || provider.is_failing()
    }
}

/// Renders the page, with the denials that pass the filters.
///
/// # Errors
/// A defect of the template, which no input causes.
pub(super) fn page(report: &Report, filter: &Filter) -> askama::Result<String> {
    let search = filter.request_id.trim();
    let shown_routes = report.routes.len().min(FIRST_ROUTES);
    let slots = report.checks.max_buckets;
    let reason = |report| Reason { report, bars: chart::bars(&report.counts, slots) };
    let would_be = report.limits.iter().flat_map(|limits| &limits.would_be_denials);
    let denials = report.denials.iter().chain(would_be);
    let shown_keys = report.api_keys.len().min(FIRST_API_KEYS);
    let page = Page {
        title: title(report),
        styles: STYLES,
        script: SCRIPT,
        documentation: DOCUMENTATION,
        search,
        found: denials.filter(|denial| denial.is_request(search)).collect(),
        report,
        now: &report.now,
        chart: chart::stacked(&report.checks),
        reasons: report.checks.reasons.iter().map(reason).collect(),
        denied: Denied::of(report, filter),
        first_routes: &report.routes[..shown_routes],
        more_routes: report.routes.len() - shown_routes,
        first_api_keys: &report.api_keys[..shown_keys],
        more_api_keys: report.api_keys.len() - shown_keys,
    };
    page.render()
}

/// The title, which shows the number of problems in the browser's tab.
fn title(report: &Report) -> String {
    let state = report.state_words();
    match report.problems.len() {
        0 => format!("Claimgate: {state}"),
        count => format!("({count}) Claimgate: {state}"),
    }
}

/// How values are written; see [`super::text`].
#[expect(unreachable_pub, reason = "what askama makes of a filter is")]
mod filters {
    use std::fmt::Display;

    use askama::{Result, Values};

    use crate::status::text::{self, Moment};

    #[askama::filter_fn]
    pub(super) fn visible(value: impl Display, _: &dyn Values) -> Result<String> {
        Ok(claimgate_core::text::visible(&value.to_string()).into_owned())
    }

    /// Values from an issuer's document may have any length.
    #[askama::filter_fn]
    pub(super) fn shortened(value: impl Display, _: &dyn Values) -> Result<String> {
        Ok(claimgate_core::text::visible(&text::shortened(&value.to_string())).into_owned())
    }

    #[askama::filter_fn]
    pub(super) fn ago(at: &Moment, _: &dyn Values, now: &Moment) -> Result<String> {
        Ok(at.from(*now))
    }

    #[askama::filter_fn]
    pub(super) fn minute(at: &Moment, _: &dyn Values) -> Result<String> {
        Ok(at.minute())
    }

    #[askama::filter_fn]
    pub(super) fn clock(at: &Moment, _: &dyn Values) -> Result<String> {
        Ok(at.clock())
    }

    /// `under 25 µs`, `under 2.5 ms`.
    #[askama::filter_fn]
    pub(super) fn duration(microseconds: &Option<u64>, _: &dyn Values) -> Result<String> {
        Ok(match microseconds {
            None => "over 1 s".into(),
            Some(short) if *short < 1000 => format!("≤ {short} µs"),
            Some(long) => format!("≤ {} ms", *long as f64 / 1000.0),
        })
    }

    #[askama::filter_fn]
    pub(super) fn rate(per_second: &f64, _: &dyn Values) -> Result<String> {
        Ok(text::rate(*per_second))
    }
}
