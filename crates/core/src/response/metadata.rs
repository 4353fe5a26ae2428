//! What is told about a decision beside the response: Envoy's other filters
//! and its access log read it as dynamic metadata.

use serde_json::{Map, Value};

use crate::{
    claims::number,
    decision::{Caller, Decision, Verdict},
    engine::Engine,
    principal::Principal,
    provider::Provider,
    reason::Reason,
    settings::{MetadataMember, MetadataMembers},
    time::UnixTime,
};

/// What is told about a decision. Absent parts are left out, and so are those
/// that the configuration does not want.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// Why.
    pub reason: Option<Reason>,
    /// The name of the provider that decided.
    pub provider: Option<&'a str>,
    /// How that provider authenticates; only of allowed requests.
    pub method: Option<&'a str>,
    /// The authenticated caller, of whom the methods tell what is wanted; only
    /// of allowed requests.
    pub caller: Option<&'a Caller>,
    /// What a service that counts requests is told, whatever is wanted of the
    /// rest; only of allowed requests.
    pub limits: Option<ToldLimits<'a>>,
    /// What the configuration wants told.
    pub wanted: MetadataMembers,
}

/// What a service that counts requests is told of one.
#[derive(Clone, Copy, Debug)]
pub struct ToldLimits<'a> {
    /// The caller's plan.
    pub plan: &'a str,
    /// Whose budget it is.
    pub key: &'a str,
    /// What the budget holds: for `requests` and `tokens` an object with
    /// `requests_per_unit` and `unit`, as Envoy reads the limit of a descriptor.
    pub limits: &'a Value,
    /// What the request takes from it.
    pub cost: u32,
}

/// How deep claims may nest. One level of a claim is up to three of protobuf,
/// and a message of over a hundred is one that Envoy can't read: it would
/// then decide by its failure mode. What lies deeper is told as null.
pub const MAX_DEPTH: usize = 16;

impl<'a> Metadata<'a> {
    /// What is told about `decision`, which `engine` made.
    pub fn of(engine: &'a Engine, decision: &'a Decision<'_>) -> Self {
        let provider = decision.provider.map(|id| engine.provider(id));
        let caller = decision.caller.as_ref().filter(|_| decision.verdict == Verdict::Allow);
        let limits = caller.and_then(|caller| ToldLimits::of(decision, caller));
        Self { limits, ..Self::new(decision.reason, provider, caller, engine.metadata_members()) }
    }

    /// What is told about every allowed request of a caller that `provider`
    /// authenticated.
    pub fn of_allowed(
        caller: &'a Caller,
        provider: &'a dyn Provider,
        wanted: MetadataMembers,
    ) -> Self {
        Self::new(Reason::Ok, Some(provider), Some(caller), wanted)
    }

    fn new(
        reason: Reason,
        provider: Option<&'a dyn Provider>,
        caller: Option<&'a Caller>,
        wanted: MetadataMembers,
    ) -> Self {
        let if_wanted = |member| wanted.contains(member).then_some(());
        Self {
            reason: if_wanted(MetadataMember::Reason).map(|()| reason),
            provider: if_wanted(MetadataMember::Provider).and(provider).map(|of| of.name()),
            // A provider without a caller has authenticated nothing.
            method: if_wanted(MetadataMember::Method)
                .and(caller)
                .and(provider)
                .map(|of| of.method()),
            caller,
            limits: None,
            wanted,
        }
    }

    /// Who the caller is.
    pub fn subject(&self) -> Option<&'a str> {
        self.principal(MetadataMember::Subject)?.subject.as_deref()
    }

    /// What the caller may do.
    pub fn scopes(&self) -> &'a [String] {
        self.principal(MetadataMember::Scopes).map_or(&[], |of| &of.scopes.names)
    }

    /// The OAuth 2.0 client.
    pub fn client_id(&self) -> Option<&'a str> {
        self.principal(MetadataMember::ClientId)?.client_id.as_deref()
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.principal(MetadataMember::ExpiresAt)?.expires_at
    }

    /// The mapped claims; `None` if the caller has none of them.
    pub fn claims(
        &self,
    ) -> Option<impl DoubleEndedIterator<Item = (&'a str, &'a Value)> + Clone + use<'a>> {
        let principal = self.principal(MetadataMember::Claims)?;
        let claims = self.caller?.identity.claims(&principal.claims);
        claims.clone().next().is_some().then_some(claims)
    }

    /// How many claims it has at the most.
    pub fn most_claims(&self) -> usize {
        let caller = self.caller.filter(|_| self.wanted.contains(MetadataMember::Claims));
        caller.map_or(0, |caller| caller.identity.most_claims())
    }

    /// Whether nothing at all is wanted.
    pub fn is_unwanted(&self) -> bool {
        self.wanted == MetadataMembers::NONE && self.limits.is_none()
    }

    /// The same as JSON. Numbers are doubles, as in Envoy.
    pub fn to_json(&self) -> Map<String, Value> {
        let text = |text: &str| Value::from(text);
        let claims = self.claims().map(|claims| {
            claims.map(|(name, value)| (name.to_owned(), json(value, MAX_DEPTH - 1))).collect()
        });
        let scopes = self.scopes();
        let members = [
            ("claims", claims.map(Value::Object)),
            ("client_id", self.client_id().map(text)),
            ("expires_at", self.expires_at().map(|at| number(at.as_seconds()))),
            ("limit_cost", self.limits.map(|of| of.cost.into())),
            ("limit_key", self.limits.map(|of| text(of.key))),
            ("limit_requests", self.limits.and_then(|of| of.requests().cloned())),
            ("limit_tokens", self.limits.and_then(|of| of.tokens().cloned())),
            ("limits", self.limits.map(|of| of.limits.clone())),
            ("method", self.method.map(text)),
            ("plan", self.limits.map(|of| text(of.plan))),
            ("provider", self.provider.map(text)),
            ("reason", self.reason.map(|reason| text(reason.as_str()))),
            ("scopes", (!scopes.is_empty()).then(|| scopes.into())),
            ("subject", self.subject().map(text)),
        ];
        let present = members.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        present.collect()
    }

    /// The caller, if this member of what is known is wanted.
    fn principal(&self, member: MetadataMember) -> Option<&'a Principal> {
        let caller = self.caller.filter(|_| self.wanted.contains(member))?;
        Some(&caller.principal)
    }
}

impl<'a> ToldLimits<'a> {
    /// The limit of requests. It is told a second time, outside of `limits`:
    /// Envoy Gateway reads a limit only where it is a member of its own.
    pub fn requests(&self) -> Option<&'a Value> {
        self.limits.get("requests")
    }

    /// The limit of tokens, told likewise.
    pub fn tokens(&self) -> Option<&'a Value> {
        self.limits.get("tokens")
    }

    fn of(decision: &Decision<'a>, caller: &'a Caller) -> Option<Self> {
        let limited = decision.limited.as_ref()?;
        let key = caller.identity.allowance.get()?.told_key()?;
        let plan = limited.plan?;
        Some(Self { plan: &plan.name, key, limits: &plan.told, cost: limited.cost })
    }
}

fn json(value: &Value, depth: usize) -> Value {
    match value {
        Value::Number(exact) => number(exact.as_f64().unwrap_or_default()),
        Value::Array(elements) if depth > 0 => {
            elements.iter().map(|element| json(element, depth - 1)).collect()
        }
        Value::Object(members) if depth > 0 => {
            let members = members.iter();
            Value::Object(members.map(|(k, v)| (k.clone(), json(v, depth - 1))).collect())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
        Value::Bool(_) | Value::String(_) => value.clone(),
    }
}
