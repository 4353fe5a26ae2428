//! One span per check, in the trace of the request that is checked.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::Status;

use super::facts::Facts;
use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    request::Request,
    traces::{Attributes, Position, Tracer},
};

/// Records the span of a decision that was just made, if its caller or the
/// configuration asks for one; `provider` is the name of the provider that
/// decided.
#[inline]
pub(super) fn check(
    tracer: &Tracer,
    engine: &Engine,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
    elapsed: Duration,
) {
    if let Some(position) = tracer.position(request) {
        record(tracer, position, engine, request, decision, provider, elapsed);
    }
}

#[cold]
fn record(
    tracer: &Tracer,
    position: Position,
    engine: &Engine,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
    elapsed: Duration,
) {
    let end = SystemTime::now();
    let asked = decision.answers.iter().map(|(id, _)| engine.provider(*id).name());
    let status = match decision.verdict {
        Verdict::Deny(Denial::Unavailable | Denial::Internal) => {
            Status::error(decision.reason.as_str())
        }
        // A denial is a normal result, not an error.
        Verdict::Allow | Verdict::Respond(_) | Verdict::Deny(_) => Status::Unset,
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
) -> Attributes {
    let facts = Facts::of(request, decision, provider, elapsed);
    let denied = matches!(decision.verdict, Verdict::Deny(_));
    let route = decision.route.map(|route| route.name.as_str()).or(request.route);
    Attributes::copy(&[
        ("claimgate.decision", Some(if denied { "deny" } else { "allow" })),
        ("claimgate.reason", Some(facts.reason)),
        ("http.request.method", Some(facts.method)),
        ("url.path", Some(facts.path)),
        ("server.address", Some(facts.host)),
        ("claimgate.provider", facts.provider),
        ("claimgate.route", route),
        ("enduser.id", facts.subject),
        ("claimgate.request_id", facts.request_id),
    ])
}
