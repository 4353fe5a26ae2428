//! JSON after RFC 8259, without repeated names (whose meaning section 4 leaves to
//! the reader).

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The text as an object; `None` if it is not one, or if an object in it has a
/// repeated name.
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Unrepeated>(text).ok()?;
    match serde_json::from_slice(text).ok()? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// Any value without a repeated name.
struct Unrepeated;

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

macro_rules! scalars {
    ($($method:ident($type:ty)),*) => {
        $(fn $method<E: Error>(self, _: $type) -> Result<Unrepeated, E> { Ok(Unrepeated) })*
    };
}

impl<'de> Visitor<'de> for Names {
    type Value = Unrepeated;

    scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Unrepeated, A::Error> {
        while elements.next_element::<Unrepeated>()?.is_some() {}
        Ok(Unrepeated)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unrepeated, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                members.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("a name occurs twice"));
            }
            members.next_value::<Unrepeated>()?;
        }
        Ok(Unrepeated)
    }
}
