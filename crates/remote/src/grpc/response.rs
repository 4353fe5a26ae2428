//! Reads the response of a custom provider.

use std::{sync::Arc, time::Duration};

use claimgate_core::{
    claims::{self, Claims},
    principal::Principal,
    provider::Answer,
    reason::Reason,
    time::UnixTime,
};
use serde_json::{Map, Value};

use super::proto::{AuthenticateResponse, Authenticated, authenticate_response::Result as Outcome};
use crate::remote_answers::RemoteAnswer;

/// The answer in the response about a token that was sent at `now`. Without an
/// end of its own it holds for `lifetime`.
pub(super) fn read(
    response: AuthenticateResponse,
    now: UnixTime,
    lifetime: Duration,
) -> RemoteAnswer {
    match response.result {
        Some(Outcome::Authenticated(caller)) => authenticated(caller, now, lifetime),
        Some(Outcome::NotMine(_)) => Answer::NotMine.into(),
        Some(Outcome::Refused(refused)) => {
            let word = refused.reason;
            let reason = Reason::from_word(&word).filter(|reason| reason.is_refusal());
            let note = reason
                .is_none()
                .then(|| format!("it refused with {word:?}, which is not a reason"));
            let answer = Answer::Refused(reason.unwrap_or(Reason::UnknownKey));
            RemoteAnswer { answer, until: None, note }
        }
        None => RemoteAnswer::unavailable("its answer holds no result".into()),
    }
}

fn authenticated(caller: Authenticated, now: UnixTime, lifetime: Duration) -> RemoteAnswer {
    let expires_at = caller
        .expires_at
        .map(|at| UnixTime::from_seconds(at.seconds as f64 + f64::from(at.nanos) / 1e9));
    if let Some(end) = expires_at.filter(|end| *end <= now) {
        let note = Some(format!("it ended at {end}, it is {now} now"));
        return RemoteAnswer { answer: Answer::Refused(Reason::Expired), until: None, note };
    }
    let until = match (caller.this_request_only, expires_at) {
        (true, _) => None,
        (false, Some(end)) => Some(end),
        (false, None) => (!lifetime.is_zero()).then(|| now + lifetime),
    };
    let claims = Claims::from(caller.claims.map(object).unwrap_or_default());
    let client = claims::clients(&claims).next().map(Into::into);
    let subject = Some(caller.subject).filter(|subject| !subject.is_empty());
    let principal = Principal::new(subject)
        .with_scopes(caller.scopes)
        .with_client_id(client)
        .with_claims(claims)
        .with_expires_at(expires_at);
    RemoteAnswer { answer: Answer::Authenticated(Arc::new(principal)), until, note: None }
}

/// A `Struct` as the JSON object that it stands for.
fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => claims::number(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
    }
}
