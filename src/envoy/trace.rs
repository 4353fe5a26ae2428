//! One span per check, in the trace of the request that is checked.

use std::time::{Duration, SystemTime};

use opentelemetry::{KeyValue, trace::Status};

use super::{log::Facts, service::Live};
use crate::{
    decision::{Decision, Denial, Verdict},
    request::Request,
    traces::{Position, Tracer},
};

/// Records the span of a decision that was just made, if its caller or the
/// configuration wants one; `provider` is the name of the one that decided.
#[inline]
pub(super) fn check(
    live: &Live,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
    elapsed: Duration,
) {
    if let Some(tracer) = &live.tracer
        && let Some(position) = position(tracer, request)
        && tracer.takes_more()
    {
        record(tracer, position, live, request, decision, provider, elapsed);
    }
}

/// Where the span belongs; `None` if there shall be none.
fn position(tracer: &Tracer, request: &Request<'_>) -> Option<Position> {
    match request.traceparent() {
        Some(parent) if !parent.sampled => None,
        Some(parent) => {
            // A state that was sent in several fields is one list (RFC 9110, 5.3).
            let state: Vec<_> = request.headers.all("tracestate").collect();
            Position::below(&parent, &state.join(&b','))
        }
        None => tracer.new_trace(),
    }
}

#[cold]
fn record(
    tracer: &Tracer,
    position: Position,
    live: &Live,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
    elapsed: Duration,
) {
    let end = SystemTime::now();
    let asked = decision.answers.iter().map(|(id, _)| live.engine.provider(*id).name());
    let status = match decision.verdict {
        Verdict::Deny(Denial::Unavailable | Denial::Internal) => {
            Status::error(decision.reason.as_str())
        }
        // A denial is what the service is for, no error of it.
        Verdict::Allow | Verdict::Answer(_) | Verdict::Deny(_) => Status::Unset,
    };
    let attributes = attributes(request, decision, provider, elapsed);
    tracer.checked(position, end - elapsed..end, attributes, status, asked);
}

/// The facts of the log line.
fn attributes(
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
    elapsed: Duration,
) -> Vec<KeyValue> {
    let facts = Facts::of(request, decision, provider, elapsed);
    let denied = matches!(decision.verdict, Verdict::Deny(_));
    let always = [
        ("claimgate.decision", if denied { "deny" } else { "allow" }),
        ("claimgate.reason", facts.reason),
        ("http.request.method", facts.method),
        ("url.path", facts.path),
        ("server.address", facts.host),
    ];
    let where_known = [
        ("claimgate.provider", facts.provider),
        ("claimgate.route", decision.route.map(|route| route.name.as_str()).or(request.route)),
        ("enduser.id", facts.subject),
        ("claimgate.request_id", facts.request_id),
    ];
    let known = where_known.into_iter().filter_map(|(key, value)| Some((key, value?)));
    always
        .into_iter()
        .chain(known)
        .map(|(key, value)| KeyValue::new(key, value.to_owned()))
        .collect()
}
