//! The facts of a check that log line, span and status page share.

use std::{borrow::Cow, time::Duration};

use claimgate_core::text::visible;

use crate::{
    decision::Decision,
    engine::Engine,
    limits::Plan,
    provider::{Provider, api_key},
    request::Request,
};

/// The facts of a check. Each value that a client may have chosen is cut to a
/// bounded length and holds no character that a reader can't see, so that it
/// can't pretend to be something else wherever it is shown.
pub(super) struct Facts<'a> {
    pub(super) reason: &'static str,
    pub(super) provider: Option<&'a str>,
    /// The route that the request matched, or that Envoy named.
    pub(super) route: Option<Cow<'a, str>>,
    /// Who sent it, where that is verified, also of a token that was refused.
    pub(super) subject: Option<Cow<'a, str>>,
    /// The OAuth 2.0 client, likewise.
    pub(super) client_id: Option<Cow<'a, str>>,
    /// Whether the subject is the name of an API key.
    pub(super) is_key: bool,
    /// Whether a provider accepted the token.
    pub(super) authenticated: bool,
    /// The plan of a caller that is over its limit, or would be.
    pub(super) plan: Option<&'a str>,
    /// Whose budget that is.
    pub(super) limit_key: Option<Cow<'a, str>>,
    /// What the reason of a denial rests on, or would.
    pub(super) detail: Option<Cow<'a, str>>,
    pub(super) method: Cow<'a, str>,
    /// Without its query.
    pub(super) path: Cow<'a, str>,
    pub(super) host: Cow<'a, str>,
    pub(super) request_id: Option<Cow<'a, str>>,
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
        let limit = over_limit(decision);
        Self {
            reason: decision.reason.as_str(),
            provider: provider.map(Provider::name),
            route: decision.route.map(|route| route.name.as_str()).or(request.route).map(shown),
            subject: principal.and_then(|it| it.subject.as_deref()).map(shown),
            client_id: principal.and_then(|it| it.client_id.as_deref()).map(shown),
            is_key: provider.is_some_and(|provider| provider.method() == api_key::METHOD),
            authenticated: decision.caller.is_some(),
            plan: limit.map(|plan| plan.name.as_str()),
            limit_key: limit.and_then(|_| {
                let key =
                    engine.limits()?.key_text(principal?, provider.map_or("", Provider::name));
                Some(shown(&key).into_owned().into())
            }),
            detail: engine.detail(request, decision),
            method: shown(request.method),
            path: shown(without_query(request.path)),
            host: shown(request.host),
            request_id: request.request_id().map(shown),
            trace_id: request.traceparent().map(|parent| parent.trace_id),
            latency_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// The name of the API key.
    pub(super) fn key(&self) -> Option<&str> {
        self.subject.as_deref().filter(|_| self.is_key)
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

/// The value as it is shown: what a reader could not see as escapes, and cut.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    match visible(cut(value)) {
        Cow::Borrowed(value) => value.into(),
        Cow::Owned(value) => cut(&value).to_owned().into(),
    }
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(10_000);
        assert_eq!(shown(&long).len(), MAX_VALUE_BYTES);
        assert_eq!(shown(&long[..2]), "é");
        assert_eq!(shown(&format!("a{long}")).len(), MAX_VALUE_BYTES - 1);
        assert!(shown(&"\u{9b}".repeat(10_000)).len() <= MAX_VALUE_BYTES);
    }
}
