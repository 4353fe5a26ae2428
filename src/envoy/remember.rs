//! Keeps denials for the status page.

use super::{log::Facts, service::Live};
use crate::{
    decision::{Decision, Verdict},
    request::Request,
    status::denials::Seen,
    time::UnixTime,
};

/// Remembers a denial, if the status page is on; `provider` is the name of
/// the one that decided.
#[inline]
pub(super) fn denial(
    live: &Live,
    request: &Request<'_>,
    decision: &Decision<'_>,
    provider: Option<&str>,
) {
    let Some(denials) = &live.denials else { return };
    if !matches!(decision.verdict, Verdict::Deny(_)) {
        return;
    }
    let facts = Facts::of(request, decision, provider, std::time::Duration::ZERO);
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
