//! One span per check, in the trace of the request that is checked.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::Status;

use super::facts::Facts;
use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    traces::{Attributes, Position, Tracer},
};

/// Records the span of a decision that was just made, at its place in the
/// trace.
#[cold]
pub(super) fn record(
    tracer: &Tracer,
    position: Position,
    engine: &Engine,
    decision: &Decision<'_>,
    facts: &Facts<'_>,
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
    let attributes = attributes(decision, facts);
    tracer.checked(position, end - elapsed..end, attributes, status, asked);
}

/// The facts of the log line.
fn attributes(decision: &Decision<'_>, facts: &Facts<'_>) -> Attributes {
    let denied = matches!(decision.verdict, Verdict::Deny(_));
    Attributes::copy(&[
        ("claimgate.decision", Some(if denied { "deny" } else { "allow" })),
        ("claimgate.reason", Some(facts.reason)),
        ("claimgate.detail", facts.detail.as_deref()),
        ("http.request.method", Some(&facts.method)),
        ("url.path", Some(&facts.path)),
        ("server.address", Some(&facts.host)),
        ("claimgate.provider", facts.provider),
        ("claimgate.route", facts.route.as_deref()),
        ("enduser.id", facts.subject.as_deref()),
        ("claimgate.client_id", facts.client_id.as_deref()),
        ("claimgate.key", facts.key()),
        ("claimgate.request_id", facts.request_id.as_deref()),
    ])
}
