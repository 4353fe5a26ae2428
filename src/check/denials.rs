//! Records denials for the status page.

use std::time::Duration;

use super::facts::Facts;
use crate::{
    decision::{Decision, Verdict},
    request::Request,
    status::denials::{DenialLog, NewDenial},
    time::UnixTime,
};

/// Records a denial; `provider` is the name of the provider that decided.
#[inline]
pub(super) fn record(
    denials: &DenialLog,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
) {
    if !matches!(decision.verdict, Verdict::Deny(_)) {
        return;
    }
    let facts = Facts::of(request, decision, provider, Duration::ZERO);
    denials.add(&NewDenial {
        at: UnixTime::now(),
        reason: decision.reason,
        provider: facts.provider,
        // For `unknown_route`, the name of the route that does not exist.
        route: decision.route.map(|route| route.name.as_str()).or(request.route),
        subject: facts.subject,
        method: facts.method,
        path: facts.path,
        host: facts.host,
        request_id: facts.request_id,
        trace_id: facts.trace_id,
    });
}
