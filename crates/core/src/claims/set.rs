//! All claims of one caller.

use std::{fmt, ops::Index};

use serde_json::{Map, Value};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::heap;

/// A caller's claims, each name once.
///
/// Claims are few, built for every new token and looked up a handful of
/// times: a list is smaller than a map and made faster.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Vec<Claim>);

#[derive(Clone, PartialEq)]
struct Claim {
    /// Nearly all names are short enough to need no memory of their own.
    name: SmolStr,
    value: Value,
}

impl Claims {
    /// No claims yet, and room for so many.
    pub(crate) fn with_capacity(claims: usize) -> Self {
        Self(Vec::with_capacity(claims))
    }

    /// Adds a claim, of whose name there may be one already.
    pub(crate) fn push(&mut self, name: &str, value: Value) {
        self.0.push(Claim { name: name.into(), value });
    }

    /// Whether a name occurs twice.
    pub(crate) fn have_repeats(&self) -> bool {
        let mut names: SmallVec<[&str; FEW]> = self.names().collect();
        if names.len() <= FEW {
            return names.iter().enumerate().any(|(at, name)| names[..at].contains(name));
        }
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// The claim of this name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.find(name).map(|claim| &claim.value)
    }

    #[inline]
    fn find(&self, name: &str) -> Option<&Claim> {
        self.0.iter().find(|claim| *claim.name == *name)
    }

    /// How much memory they own.
    pub(crate) fn heap_bytes(&self) -> usize {
        let each = self.0.iter().map(|Claim { name, value, .. }| {
            let name = if name.is_heap_allocated() { heap::allocation(name.len()) } else { 0 };
            name + heap::json(value)
        });
        heap::list::<Claim>(self.0.capacity()) + each.sum::<usize>()
    }

    /// Their names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|claim| &*claim.name)
    }

    /// Those of these names, which are all different.
    pub fn only<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let found = names.into_iter().filter_map(|name| self.find(name));
        let mut chosen: Vec<_> = found.cloned().collect();
        // These are kept for long.
        chosen.shrink_to_fit();
        Self(chosen)
    }
}

/// Up to this many, comparing pairs is faster than sorting: sorting a
/// usual token's adds 3 % to `read_claims` (`benches/engine.rs`).
const FEW: usize = 32;

impl From<Map<String, Value>> for Claims {
    fn from(members: Map<String, Value>) -> Self {
        let mut claims = Self::with_capacity(members.len());
        members.into_iter().for_each(|(name, value)| claims.push(&name, value));
        claims
    }
}

impl Index<&str> for Claims {
    type Output = Value;

    /// `null` if there is no such claim, as with JSON.
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

/// Claim values may be personal data: their names are enough for a log.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(names: &[&str]) -> Claims {
        let mut claims = Claims::default();
        names.iter().for_each(|name| claims.push(name, json!(name)));
        claims
    }

    #[test]
    fn claims_are_found_by_their_whole_name() {
        let names = ["scope", "aud", "", "sub", "client_id", "client_ip", "a\0", "a"];
        let claims = claims(&names);
        for name in names {
            assert_eq!(claims.get(name), Some(&json!(name)));
        }
        for name in ["iss", "client_i", "client_idx", "a\0\0", "\0"] {
            assert_eq!(claims.get(name), None, "{name:?}");
        }
        assert_eq!(claims["iss"], Value::Null);
    }

    #[test]
    fn repeats_are_seen_among_few_and_among_many() {
        let many: Vec<String> = (0..1000).map(|number| format!("claim-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases = [
            (vec![], false),
            (vec!["a", "b", "c"], false),
            (vec!["a", "b", "a"], true),
            (vec!["client_id", "client_ip"], false),
            (many.clone(), false),
            ([&many[..], &["claim-7"]].concat(), true),
        ];
        for (names, expected) in cases {
            assert_eq!(claims(&names).have_repeats(), expected, "{} names", names.len());
        }
    }

    #[test]
    fn some_can_be_chosen() {
        let chosen = claims(&["a", "b", "c"]).only(["c", "d", "a"]);
        assert_eq!(chosen, claims(&["c", "a"]));
    }

    #[test]
    fn values_stay_out_of_debug_output() {
        let claims = Claims::from(json!({"email": "me@example.com"}).as_object().cloned().unwrap());
        assert_eq!(format!("{claims:?}"), r#"{"email"}"#);
    }
}
