//! All claims of one caller.

use std::{fmt, ops::Index};

use serde_json::{Map, Value};

/// A caller's claims, each name once.
///
/// Claims are few, built for every new token and looked up a handful of
/// times: a sorted list is smaller and made faster than a map.
#[derive(Clone, Default, PartialEq)]
pub struct Claims {
    by_name: Vec<(Box<str>, Value)>,
}

impl Claims {
    /// The claims of a list, in any order; `None` if a name occurs twice.
    pub fn unique(claims: Vec<(Box<str>, Value)>) -> Option<Self> {
        let claims = Self::sorted(claims);
        let repeats = claims.by_name.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (!repeats).then_some(claims)
    }

    fn sorted(mut by_name: Vec<(Box<str>, Value)>) -> Self {
        by_name.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { by_name }
    }

    /// The claim of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.by_name.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.by_name[at].1)
    }

    /// Their names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.by_name.iter().map(|(name, _)| &**name)
    }

    /// Those whose name `wanted` holds for.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let chosen = self.by_name.iter().filter(|(name, _)| wanted(name));
        let mut by_name: Vec<_> = chosen.cloned().collect();
        // These are kept for long.
        by_name.shrink_to_fit();
        Self { by_name }
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(members: Map<String, Value>) -> Self {
        Self::sorted(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
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

    fn list(names: &[&str]) -> Vec<(Box<str>, Value)> {
        names.iter().map(|name| ((*name).into(), json!(name))).collect()
    }

    #[test]
    fn claims_are_found_in_whatever_order_they_came() {
        let claims = Claims::unique(list(&["scope", "aud", "", "sub", "exp"])).unwrap();
        for name in ["scope", "aud", "", "sub", "exp"] {
            assert_eq!(claims.get(name), Some(&json!(name)));
        }
        assert_eq!(claims.get("iss"), None);
        assert_eq!(claims["iss"], Value::Null);
    }

    #[test]
    fn no_name_occurs_twice() {
        assert_eq!(Claims::unique(list(&["a", "b", "a"])), None);
    }

    #[test]
    fn some_can_be_chosen() {
        let claims = Claims::unique(list(&["a", "b", "c"])).unwrap();
        let chosen = claims.only(|name| name != "b");
        assert_eq!(chosen.names().collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn values_stay_out_of_debug_output() {
        let claims = Claims::from(json!({"email": "me@example.com"}).as_object().cloned().unwrap());
        assert_eq!(format!("{claims:?}"), r#"{"email"}"#);
    }
}
