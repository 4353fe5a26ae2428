//! The facts of a check that log line, span and status page share.

use std::{borrow::Cow, time::Duration};

use crate::{
    decision::Decision,
    engine::Engine,
    limits::Plan,
    provider::{Provider, api_key},
    request::Request,
};

/// The facts of a check, each value cut to a bounded length.
pub(super) struct Facts<'a> {
    pub(super) reason: &'static str,
    pub(super) provider: Option<&'a str>,
    /// The route that the request matched, or that Envoy named.
    pub(super) route: Option<&'a str>,
    /// Who sent it, where that is verified, also of a token that was refused.
    pub(super) subject: Option<&'a str>,
    /// The OAuth 2.0 client, likewise.
    pub(super) client_id: Option<&'a str>,
    /// The name of the API key.
    pub(super) key: Option<&'a str>,
    /// Whether a provider accepted the token.
    pub(super) authenticated: bool,
    /// The plan of a caller that is over its limit, or would be.
    pub(super) plan: Option<&'a str>,
    /// Whose budget that is.
    pub(super) limit_key: Option<String>,
    /// What the reason of a denial rests on, or would.
    pub(super) detail: Option<Cow<'a, str>>,
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
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
        elapsed: Duration,
    ) -> Self {
        let provider = decision.provider.map(|id| engine.provider(id));
        let principal = decision.principal();
        let subject = principal.and_then(|it| it.subject.as_deref()).map(shortened);
        let client_id = principal.and_then(|it| it.client_id.as_deref()).map(shortened);
        let limit = over_limit(decision);
        let is_key = provider.is_some_and(|provider| provider.method() == api_key::METHOD);
        Self {
            reason: decision.reason.as_str(),
            provider: provider.map(Provider::name),
            route: decision.route.map(|route| route.name.as_str()).or(request.route).map(shortened),
            subject,
            client_id,
            key: subject.filter(|_| is_key),
            authenticated: decision.caller.is_some(),
            plan: limit.map(|plan| plan.name.as_str()),
            limit_key: limit.and_then(|_| {
                let key =
                    engine.limits()?.key_text(principal?, provider.map_or("", Provider::name));
                Some(shortened(&key).to_owned())
            }),
            detail: engine.detail(request, decision),
            method: shortened(request.method),
            path: shortened(without_query(request.path)),
            host: shortened(request.host),
            request_id: request.request_id().map(shortened),
            trace_id: request.traceparent().map(|parent| parent.trace_id),
            latency_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// The plan of a caller that is over its limit, or would be.
fn over_limit<'e>(decision: &Decision<'e>) -> Option<&'e Plan> {
    let limited = decision.limited.as_ref()?;
    limited.outcome.as_ref()?.wait().and(limited.plan)
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
