//! Records denials for the status page.

use super::facts::Facts;
use crate::{
    decision::Decision,
    reason::Reason,
    status::denials::{DenialLog, NewDenial},
    time::UnixTime,
};

/// Records a denial, or that a request would have been one.
#[inline]
pub(super) fn record(denials: &DenialLog, decision: &Decision<'_>, facts: &Facts<'_>) {
    let would_be = decision.would_be_over();
    denials.add(&NewDenial {
        at: UnixTime::now(),
        reason: if would_be { Reason::RateLimited } else { decision.reason },
        would_be,
        provider: facts.provider,
        route: facts.route.as_deref(),
        subject: facts.subject.as_deref(),
        client_id: facts.client_id.as_deref(),
        key: facts.key(),
        authenticated: facts.authenticated,
        plan: facts.plan,
        limit_key: facts.limit_key.as_deref(),
        detail: facts.detail.as_deref(),
        method: &facts.method,
        path: &facts.path,
        host: &facts.host,
        request_id: facts.request_id.as_deref(),
        trace_id: facts.trace_id,
    });
}
