//! The expectations of a case, compared with the decision.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
};

use serde::Serialize;

use super::placeholder::redact;
use crate::{explain::Explanation, reason::Reason, request::Request};

/// The expected decision; what is `None` may be anything.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// `allow` or `deny`.
    pub decision: Option<&'static str>,
    /// The client's status; 200 for allow.
    pub status: Option<u16>,
    /// The reason.
    pub reason: Option<Reason>,
    /// The deciding provider; `Some(None)` for none.
    pub provider: Option<Option<String>>,
    /// The route; `Some(None)` for the defaults.
    pub route: Option<Option<String>>,
    /// The caller's subject.
    pub subject: Option<Option<String>>,
    /// The granted scopes, in any order.
    pub scopes: Option<Vec<String>>,
    /// Headers, by name in lower case: of an allowed request as the upstream
    /// sees it, of a denial as the client does.
    pub headers: Vec<(String, Option<String>)>,
}

/// A difference from the expectations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The key of the expectation.
    pub what: String,
    /// The expected value.
    pub expected: String,
    /// The actual value.
    pub got: String,
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

impl Expectations {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        let Self { decision, status, reason, provider, route, subject, scopes, headers } = self;
        decision.is_none()
            && status.is_none()
            && reason.is_none()
            && provider.is_none()
            && route.is_none()
            && subject.is_none()
            && scopes.is_none()
            && headers.is_empty()
    }

    /// Every difference, in the order of the keys. `tokens`
    /// are those in the request: they may be real ones, so both sides show
    /// the placeholder instead.
    pub(super) fn compare(
        &self,
        request: &Request<'_>,
        got: &Explanation,
        tokens: &[Option<&str>],
    ) -> Vec<Mismatch> {
        let mut found = Comparison::default();
        found.text("decision", self.decision, got.decision);
        if let Some(status) = self.status {
            found.text("status", Some(&status.to_string()), &got.status.to_string());
        }
        found.text("reason", self.reason.map(Reason::as_str), got.reason);
        found.optional("provider", self.provider.as_ref(), got.provider.as_deref());
        let route = got.route.as_ref().and_then(|route| route.name.as_deref());
        found.optional("route", self.route.as_ref(), route);
        let subject = got.caller.as_ref().and_then(|caller| caller.subject.as_deref());
        found.optional("subject", self.subject.as_ref(), subject);
        if let Some(expected) = &self.scopes {
            let granted = got.scopes.as_ref().and_then(|scopes| scopes.granted.clone());
            let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
            let granted = granted.unwrap_or_default();
            if set(expected) != set(&granted) {
                found.add("scopes", expected.join(" "), granted.join(" "));
            }
        }
        for (name, expected) in &self.headers {
            let value = header(request, got, name).map(|value| redact(&value, tokens));
            let expected = expected.as_deref().map(|value| redact(value, tokens));
            found.optional(&format!("headers.{name}"), Some(&expected), value.as_deref());
        }
        found.0
    }
}

#[derive(Default)]
struct Comparison(Vec<Mismatch>);

impl Comparison {
    fn add(&mut self, what: &str, expected: String, got: String) {
        self.0.push(Mismatch { what: what.into(), expected, got });
    }

    fn text(&mut self, what: &str, expected: Option<&str>, got: &str) {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            self.add(what, expected.into(), got.into());
        }
    }

    fn optional(&mut self, what: &str, expected: Option<&Option<String>>, got: Option<&str>) {
        let text = |value: Option<&str>| value.map_or("none".into(), |text| format!("{text:?}"));
        if let Some(expected) = expected
            && expected.as_deref() != got
        {
            self.add(what, text(expected.as_deref()), text(got));
        }
    }
}

/// A header as its recipient sees it.
fn header<'a>(request: &Request<'a>, got: &'a Explanation, name: &str) -> Option<Cow<'a, str>> {
    let set = |headers: &'a crate::explain::Headers| {
        let found = headers.0.iter().find(|(set, _)| set == name);
        found.map(|(_, value)| Cow::Borrowed(value.as_str()))
    };
    match (&got.upstream, &got.client) {
        (Some(upstream), _) => set(&upstream.set).or_else(|| {
            let is_removed = upstream.remove.iter().any(|removed| removed == name);
            let sent: Vec<_> = request.headers.all(name).map(String::from_utf8_lossy).collect();
            (!is_removed && !sent.is_empty()).then(|| Cow::Owned(sent.join(",")))
        }),
        (None, Some(client)) => set(&client.headers),
        (None, None) => None,
    }
}
