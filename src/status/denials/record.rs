//! One denial, as it is recorded.

use crate::{reason::Reason, texts::Texts, time::UnixTime};

/// The longest that any one value is kept, in bytes.
pub(in crate::status) const MAX_VALUE_BYTES: usize = 256;

/// A denied request, to be recorded, or one that would have been denied.
#[derive(Clone, Copy, Debug)]
pub struct NewDenial<'a> {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    /// It was allowed: the limits that it is over are only tried out.
    pub would_be: bool,
    /// The provider that decided.
    pub provider: Option<&'a str>,
    /// The route that the request matched, or that Envoy named.
    pub route: Option<&'a str>,
    /// Who sent it, where that is verified.
    pub subject: Option<&'a str>,
    /// The OAuth 2.0 client, likewise.
    pub client_id: Option<&'a str>,
    /// The name of the API key.
    pub key: Option<&'a str>,
    /// Whether the token was accepted, and only the route's rules were not met.
    pub authenticated: bool,
    /// The plan whose limit it is over.
    pub plan: Option<&'a str>,
    /// Whose budget was used up.
    pub limit_key: Option<&'a str>,
    /// What the reason rests on, in one sentence.
    pub detail: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// Its path without the query, which may hold a token.
    pub path: &'a str,
    /// Its host.
    pub host: &'a str,
    /// Its `x-request-id`.
    pub request_id: Option<&'a str>,
    /// The trace it belongs to.
    pub trace_id: Option<&'a str>,
}

/// A recorded denial; absent values are empty, long ones are cut.
#[derive(Clone)]
pub struct DenialRecord {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    /// It was allowed: the limits that it is over are only tried out.
    pub would_be: bool,
    /// Whether the token was accepted, and only the route's rules were not met.
    pub authenticated: bool,
    values: Texts,
}

impl DenialRecord {
    pub(super) fn of(new: &NewDenial<'_>) -> Self {
        let mut record = Self {
            at: new.at,
            reason: new.reason,
            would_be: new.would_be,
            authenticated: new.authenticated,
            values: Texts::default(),
        };
        record.fill(new);
        record
    }

    /// Replaces everything, reusing the memory.
    pub(super) fn fill(&mut self, new: &NewDenial<'_>) {
        (self.at, self.reason) = (new.at, new.reason);
        (self.would_be, self.authenticated) = (new.would_be, new.authenticated);
        let known = Option::<&str>::unwrap_or_default;
        // In the order of the methods below.
        let values = [
            known(new.provider),
            known(new.route),
            known(new.subject),
            known(new.client_id),
            known(new.key),
            known(new.detail),
            new.method,
            new.path,
            new.host,
            known(new.request_id),
            known(new.trace_id),
            known(new.plan),
            known(new.limit_key),
        ];
        self.values.fill(values.into_iter().map(cut));
    }

    /// The provider that decided.
    pub fn provider(&self) -> &str {
        self.values.get(0)
    }

    /// The route that the request matched, or that Envoy named.
    pub fn route(&self) -> &str {
        self.values.get(1)
    }

    /// Who sent it, where that is verified.
    pub fn subject(&self) -> &str {
        self.values.get(2)
    }

    /// The OAuth 2.0 client, likewise.
    pub fn client_id(&self) -> &str {
        self.values.get(3)
    }

    /// The name of the API key.
    pub fn key(&self) -> &str {
        self.values.get(4)
    }

    /// What the reason rests on, in one sentence.
    pub fn detail(&self) -> &str {
        self.values.get(5)
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        self.values.get(6)
    }

    /// Its path without the query.
    pub fn path(&self) -> &str {
        self.values.get(7)
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.values.get(8)
    }

    /// Its `x-request-id`.
    pub fn request_id(&self) -> &str {
        self.values.get(9)
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> &str {
        self.values.get(10)
    }

    /// The plan whose limit it is over.
    pub fn plan(&self) -> &str {
        self.values.get(11)
    }

    /// Whose budget was used up.
    pub fn limit_key(&self) -> &str {
        self.values.get(12)
    }
}

/// Cuts a value to the recorded length.
pub(in crate::status) fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
}
