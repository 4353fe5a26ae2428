//! Records denials for the status page.

use super::facts::Facts;
use crate::{
    reason::Reason,
    status::denials::{DenialLog, NewDenial},
    time::UnixTime,
};

/// Records a denial.
#[inline]
pub(super) fn record(denials: &DenialLog, reason: Reason, facts: &Facts<'_>) {
    denials.add(&NewDenial {
        at: UnixTime::now(),
        reason,
        provider: facts.provider,
        route: facts.route.as_deref(),
        subject: facts.subject.as_deref(),
        client_id: facts.client_id.as_deref(),
        key: facts.key(),
        authenticated: facts.authenticated,
        detail: facts.detail.as_deref(),
        method: &facts.method,
        path: &facts.path,
        host: &facts.host,
        request_id: facts.request_id.as_deref(),
        trace_id: facts.trace_id,
    });
}
