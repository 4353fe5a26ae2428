//! Keeps denials for the status page.

use std::time::Duration;

use super::facts::Facts;
use crate::{
    decision::{Decision, Verdict},
    request::Request,
    status::denials::{Denials, Seen},
    time::UnixTime,
};

/// Keeps a denial; `provider` is the name of the one that decided.
#[inline]
pub(super) fn keep(
    denials: &Denials,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
) {
    if !matches!(decision.verdict, Verdict::Deny(_)) {
        return;
    }
    let facts = Facts::of(request, decision, provider, Duration::ZERO);
    denials.add(&Seen {
        at: UnixTime::now(),
        reason: decision.reason,
        provider: facts.provider,
        // The one that does not exist is what `unknown_route` is about.
        route: decision.route.map(|route| route.name.as_str()).or(request.route),
        subject: facts.subject,
        method: facts.method,
        path: facts.path,
        host: facts.host,
        request_id: facts.request_id,
        trace_id: facts.trace_id,
    });
}
