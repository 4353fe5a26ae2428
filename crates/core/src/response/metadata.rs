//! What is told about a decision beside the response: Envoy's other filters
//! and its access log read it as dynamic metadata.

use serde_json::{Map, Value};

use crate::{
    claims::number,
    decision::{Caller, Decision, Verdict},
    engine::Engine,
    reason::Reason,
};

/// What is told about a decision. Absent parts are left out.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// Why.
    pub reason: Reason,
    /// The name of the provider that decided.
    pub provider: Option<&'a str>,
    /// How that provider authenticates; only of allowed requests.
    pub method: Option<&'a str>,
    /// The authenticated caller; only of allowed requests.
    pub caller: Option<&'a Caller>,
}

/// How deep claims may nest. One level of a claim is up to three of protobuf,
/// and a message of over a hundred is one that Envoy can't read: it would
/// then decide by its failure mode. What lies deeper is told as null.
pub const MAX_DEPTH: usize = 16;

impl<'a> Metadata<'a> {
    /// What is told about `decision`, which `engine` made.
    pub fn of(engine: &'a Engine, decision: &'a Decision<'_>) -> Self {
        let provider = decision.provider.map(|id| engine.provider(id));
        let is_allowed = decision.verdict == Verdict::Allow;
        Self {
            reason: decision.reason,
            provider: provider.map(|provider| provider.name()),
            method: provider.filter(|_| is_allowed).map(|provider| provider.method()),
            caller: decision.caller.as_ref().filter(|_| is_allowed),
        }
    }

    /// The same as JSON. Numbers are doubles, as in Envoy.
    pub fn to_json(&self) -> Map<String, Value> {
        let text = |text: &str| Value::from(text);
        let principal = self.caller.map(|caller| &caller.principal);
        let claims =
            self.caller.into_iter().flat_map(|by| by.identity.claims(&by.principal.claims));
        let claims: Map<_, _> =
            claims.map(|(name, value)| (name.into(), json(value, MAX_DEPTH - 1))).collect();
        let scopes = principal.map(|principal| &principal.scopes.names[..]).unwrap_or_default();
        let members = [
            ("claims", (!claims.is_empty()).then(|| claims.into())),
            ("client_id", principal.and_then(|of| of.client_id.as_deref()).map(text)),
            (
                "expires_at",
                principal.and_then(|of| of.expires_at).map(|at| number(at.as_seconds())),
            ),
            // A provider without a caller has authenticated nothing.
            ("method", self.caller.and(self.method).map(text)),
            ("provider", self.provider.map(text)),
            ("reason", Some(text(self.reason.as_str()))),
            ("scopes", (!scopes.is_empty()).then(|| scopes.into())),
            ("subject", principal.and_then(|of| of.subject.as_deref()).map(text)),
        ];
        let present = members.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        present.collect()
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
