//! Key sets and tokens.

use claimgate::issuer::signing::SigningKey;
use serde_json::{Value, json};

/// The JWK Set of these keys.
pub(crate) fn jwks(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// The header that every token of this key has.
pub(crate) fn header(key: &SigningKey, algorithm: &str) -> Value {
    json!({"alg": algorithm, "kid": key.kid()})
}

/// An object's members, replaced and joined by those of another; `null` removes
/// one.
pub(crate) fn changed(mut object: Value, change: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap().clone() {
        match value {
            Value::Null => drop(members.remove(&name)),
            value => drop(members.insert(name, value)),
        }
    }
    object
}
