//! The facts of a check that log line, span and status page share.

use std::time::Duration;

use crate::{decision::Decision, request::Request};

/// The facts of a check, each value cut to a bounded length.
pub(super) struct Facts<'a> {
    pub(super) reason: &'static str,
    pub(super) provider: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) method: &'a str,
    /// Without its query.
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) request_id: Option<&'a str>,
    pub(super) trace_id: Option<&'a str>,
    pub(super) latency_us: u64,
}

impl<'a> Facts<'a> {
    pub(super) fn of(
        request: &Request<'a>,
        decision: &'a Decision<'_>,
        provider: Option<&'a str>,
        elapsed: Duration,
    ) -> Self {
        let subject =
            decision.caller.as_ref().and_then(|caller| caller.principal.subject.as_deref());
        Self {
            reason: decision.reason.as_str(),
            provider,
            subject: subject.map(shortened),
            method: shortened(request.method),
            path: shortened(without_query(request.path)),
            host: shortened(request.host),
            request_id: request.request_id().map(shortened),
            trace_id: request.traceparent().map(|parent| parent.trace_id),
            latency_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Cuts off query and fragment. Requests should not have a fragment, but some do,
/// with a token in it.
fn without_query(target: &str) -> &str {
    let end = memchr::memchr2(b'?', b'#', target.as_bytes());
    &target[..end.unwrap_or(target.len())]
}

/// The longest value in a line, in bytes.
const MAX_VALUE_BYTES: usize = 1024;

pub(super) fn shortened(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(10_000);
        assert_eq!(shortened(&long).len(), MAX_VALUE_BYTES);
        assert_eq!(shortened(&long[..2]), "é");
        assert_eq!(shortened(&format!("a{long}")).len(), MAX_VALUE_BYTES - 1);
    }
}
