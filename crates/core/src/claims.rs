//! Finding a claim by its path and comparing it.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde_json::{Number, Value};

use crate::sentence::{Json, Name, any};

mod set;

pub use set::Claims;

/// Where a claim is: a name as the operator wrote it, or exact segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimPath {
    /// Tried as one literal name first, then split on dots.
    Name {
        /// As written.
        literal: String,
        /// The same, split; empty if there is no dot.
        segments: Vec<String>,
    },
    /// Followed segment by segment, never split.
    Segments(Vec<String>),
}

impl ClaimPath {
    /// A path as a string: literal name first, then dotted.
    pub fn named(path: &str) -> Self {
        let segments = match path.contains('.') {
            true => path.split('.').map(String::from).collect(),
            false => Vec::new(),
        };
        Self::Name { literal: path.into(), segments }
    }

    /// The names under which the claims themselves may hold it.
    pub fn outermost(&self) -> impl Iterator<Item = &str> {
        let (literal, segments) = match self {
            Self::Name { literal, segments } => (Some(literal), segments),
            Self::Segments(segments) => (None, segments),
        };
        literal.into_iter().chain(segments.first()).map(String::as_str)
    }

    /// The claim's value, if the claims have it.
    pub fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        match self {
            Self::Name { literal, segments } => {
                claims.get(literal).or_else(|| descend(claims, segments))
            }
            Self::Segments(segments) => descend(claims, segments),
        }
    }
}

/// As the operator wrote it; segments are joined with dots.
impl std::fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl ClaimPath {
    /// As the operator wrote it; segments are joined with dots.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name { literal, .. } => literal.into(),
            Self::Segments(segments) => segments.join(".").into(),
        }
    }
}

fn descend<'a>(claims: &'a Claims, segments: &[String]) -> Option<&'a Value> {
    let (first, rest) = segments.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, segment| value.as_object()?.get(segment))
}

/// The claims that name the OAuth 2.0 client, by issuer: RFC 9068 and Amazon
/// Cognito, OpenID Connect and Entra v2, Entra v1, Okta.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "appid", "cid"];

/// Every client that the claims name, most specific claim first.
pub fn clients(claims: &Claims) -> impl Iterator<Item = &str> + Clone {
    CLIENT_CLAIMS.into_iter().filter_map(|name| claims.get(name)?.as_str())
}

/// A claim and the values it may have.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRule {
    /// Which claim.
    pub claim: ClaimPath,
    /// Scalars, any one of which the claim must equal, or contain where it is
    /// an array.
    pub any_of: Vec<Value>,
}

/// How a claim rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOutcome {
    /// The claim has a wanted value.
    Holds,
    /// There is no such claim.
    Missing,
    /// It has another value.
    Differs,
}

impl ClaimRule {
    /// Compares the claim with the wanted values.
    pub fn check(&self, claims: &Claims) -> RuleOutcome {
        let Some(value) = self.claim.find(claims) else { return RuleOutcome::Missing };
        let wanted = |scalar: &Value| self.any_of.iter().any(|want| scalars_equal(want, scalar));
        let holds = match value {
            Value::Array(elements) => elements.iter().any(wanted),
            scalar => wanted(scalar),
        };
        if holds { RuleOutcome::Holds } else { RuleOutcome::Differs }
    }
}

impl ClaimRule {
    /// What the claims have and what the rule wants, where it does not hold.
    pub(crate) fn broken_by<'a>(&'a self, claims: &'a Claims) -> impl Display + 'a {
        fmt::from_fn(move |f| {
            let claim = self.claim.text();
            let (claim, wanted) = (Name(&claim), any(self.any_of.iter().map(Json)));
            match self.claim.find(claims) {
                Some(value) => write!(f, "claim {claim} is {}, wanted: {wanted}", Json(value)),
                None => write!(f, "missing claim {claim}, wanted: {wanted}"),
            }
        })
    }
}

/// Numbers are equal by value: `1` and `1.0` are one JSON number. One that is
/// not exact may be any of several, so it equals none.
fn scalars_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) if l.is_f64() || r.is_f64() => {
            is_exact(left) && is_exact(right) && l.as_f64() == r.as_f64()
        }
        (l, r) => l == r,
    }
}

/// From here on a double can't tell one whole number from the next: 2^53.
const END_OF_EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether every number in `value` is the one that was written. Those of more
/// than 64 bits were read as doubles, so two accounts of 30 digits may have
/// become one; fractions are taken for what doubles make of them.
pub fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|double| double.abs() < END_OF_EXACT)
        }
        Value::Array(elements) => elements.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// A double as JSON; whole numbers read better as such.
pub fn number(value: f64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < END_OF_EXACT;
    match whole {
        true => Value::from(value as i64),
        false => Number::from_f64(value).map_or(Value::Null, Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().expect("an object").clone().into()
    }

    #[test]
    fn a_path_is_a_literal_name_before_it_is_a_path() {
        let claims = claims(json!({
            "kubernetes.io": {"namespace": "prod"},
            "realm_access": {"roles": ["admin"]},
            "https://example.com/team": "search",
            "a.b": 1,
            "a": {"b": 2},
        }));
        let cases = [
            (ClaimPath::named("realm_access.roles"), Some(json!(["admin"]))),
            (ClaimPath::named("https://example.com/team"), Some(json!("search"))),
            (ClaimPath::named("kubernetes.io"), Some(json!({"namespace": "prod"}))),
            (ClaimPath::named("a.b"), Some(json!(1))),
            (ClaimPath::Segments(vec!["a".into(), "b".into()]), Some(json!(2))),
            (
                ClaimPath::Segments(vec!["kubernetes.io".into(), "namespace".into()]),
                Some(json!("prod")),
            ),
            (ClaimPath::named("realm_access.none"), None),
            (ClaimPath::named("a.b.c"), None),
            (ClaimPath::Segments(vec![]), None),
        ];
        for (path, expected) in cases {
            assert_eq!(path.find(&claims), expected.as_ref(), "{path}");
        }
    }

    #[test]
    fn a_rule_wants_equality_or_membership() {
        let claims = claims(json!({"s": "x", "n": 1, "b": true, "list": ["a", 2], "o": {}}));
        let cases = [
            ("s", json!(["x"]), RuleOutcome::Holds),
            ("s", json!(["y", "x"]), RuleOutcome::Holds),
            ("s", json!(["X"]), RuleOutcome::Differs),
            ("n", json!([1.0]), RuleOutcome::Holds),
            ("n", json!(["1"]), RuleOutcome::Differs),
            ("b", json!([true]), RuleOutcome::Holds),
            ("list", json!([2]), RuleOutcome::Holds),
            ("list", json!(["b"]), RuleOutcome::Differs),
            ("o", json!(["x"]), RuleOutcome::Differs),
            ("gone", json!(["x"]), RuleOutcome::Missing),
        ];
        for (name, any_of, expected) in cases {
            let any_of = any_of.as_array().expect("a list").clone();
            let rule = ClaimRule { claim: ClaimPath::named(name), any_of };
            assert_eq!(rule.check(&claims), expected, "{name}");
        }
    }

    /// As tokens bring them: read from JSON.
    #[test]
    fn a_number_that_was_not_read_exactly_equals_nothing() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let cases = [
            // Up to 64 bits every digit counts.
            ("9007199254740991", "9007199254740991", true),
            ("9007199254740993", "9007199254740993", true),
            ("9007199254740993", "9007199254740992", false),
            ("18446744073709551615", "18446744073709551615", true),
            ("18446744073709551615", "18446744073709551614", false),
            ("-9223372036854775808", "-9223372036854775808", true),
            // Beyond, none does.
            ("18446744073709551616", "18446744073709551615", false),
            ("18446744073709551615", "18446744073709551616", false),
            ("18446744073709551616", "18446744073709551616", false),
            ("-9223372036854775809", "-9223372036854775808", false),
            ("123456789012345678901234567890", "123456789012345678901234567891", false),
            ("123456789012345678901234567890", "123456789012345678901234567890", false),
            ("1e300", "1e300", false),
            ("9007199254740992.0", "9007199254740992", false),
            ("9007199254740992.0", "9007199254740993", false),
            ("9007199254740992.0", "9007199254740992.0", false),
            // Below 2^53 a double is exact.
            ("9007199254740991.0", "9007199254740991", true),
            ("9007199254740991.0", "9007199254740990", false),
            ("1.0", "1", true),
            ("1.5", "1.5", true),
            ("1.5", "1", false),
            ("-0.0", "0", true),
        ];
        for (claim, wanted, expected) in cases {
            let (claim, wanted) = (read(claim), read(wanted));
            for value in [claim.clone(), json!([7, claim])] {
                let claims = claims(json!({ "n": value }));
                let rule = ClaimRule { claim: ClaimPath::named("n"), any_of: vec![wanted.clone()] };
                let holds = rule.check(&claims) == RuleOutcome::Holds;
                assert_eq!(holds, expected, "{claim} as {wanted}");
            }
        }
    }
}
