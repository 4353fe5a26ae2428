//! Where in a file's text each key and value is.
//!
//! A file is read a second time for that, and only if there is something to
//! say about it: positions beside every value would double the memory of a file
//! that has nothing wrong. No value is kept, so no secret is either.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{
    key_path::{KeyPath, Step},
    position::Position,
    yaml,
};

/// What of an entry an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its key.
    Key,
    /// Its value, or its key where the value begins further down.
    Value,
}

/// The positions of a whole file.
#[derive(Debug, Default)]
pub(super) struct Positions(Option<Node>);

/// A value, and what is in it.
#[derive(Debug)]
struct Node {
    at: Option<Position>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    /// A string, number or boolean.
    Scalar,
    /// Nothing: its position is that of what follows.
    Null,
    Map(Vec<(String, Option<Position>, Node)>),
    List(Vec<Node>),
}

impl Positions {
    /// The positions of a text that is valid YAML.
    pub(super) fn of(text: &str) -> Self {
        Self(serde_saphyr::from_str_with_options(yaml::body(text), yaml::options()).ok())
    }

    /// Where a value is; where something is missing, what it is missing in.
    pub(super) fn find(&self, path: &KeyPath, part: Part) -> Option<Position> {
        let mut node = self.0.as_ref()?;
        let mut found = node.at;
        for step in path.steps() {
            let below = match (step, &node.inside) {
                (Step::Key(name), Inside::Map(entries)) => {
                    entries.iter().find(|(key, ..)| key == name).map(|(_, at, node)| (*at, node))
                }
                (Step::Index(index), Inside::List(items)) => items.get(*index).map(|it| (None, it)),
                _ => None,
            };
            let Some((key, below)) = below else { return found };
            found = below.seen_from(key, part);
            node = below;
        }
        found
    }
}

impl Node {
    fn seen_from(&self, key: Option<Position>, part: Part) -> Option<Position> {
        let Some(key) = key else { return self.at };
        let is_beside = self.at.is_some_and(|at| at.line == key.line);
        match (part, &self.inside) {
            (Part::Value, Inside::Scalar | Inside::Map(_) | Inside::List(_)) if is_beside => {
                self.at
            }
            _ => Some(key),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Inside>::deserialize(deserializer)?;
        Ok(Self { at: Position::of(spanned.defined), inside: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key.value, Position::of(key.defined), map.next_value()?));
        }
        Ok(Inside::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inside, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Inside::List(items))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inside, D::Error> {
        Inside::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Inside, D::Error> {
        Inside::deserialize(deserializer)
    }

    fn visit_none<E: de::Error>(self) -> Result<Inside, E> {
        Ok(Inside::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Inside, E> {
        Ok(Inside::Null)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Inside, A::Error> {
        data.variant::<IgnoredAny>()?;
        Ok(Inside::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, steps: &[&str], part: Part) -> String {
        let path = steps.iter().fold(KeyPath::default(), |path, step| match step.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(step),
        });
        Positions::of(text).find(&path, part).map_or("nowhere".into(), |at| at.to_string())
    }

    #[test]
    fn every_key_and_value_has_its_position() {
        let text =
            "a:\n  b: [x, {c: 1}]\n  'd e':\n    - f: é\n      g: h\n  i:\nj: {<<: {k: 1}}\n";
        let cases: &[(&[&str], &str, &str)] = &[
            (&[], "1:1", "1:1"),
            (&["a"], "1:1", "1:1"),
            (&["a", "b"], "2:3", "2:6"),
            (&["a", "b", "0"], "2:7", "2:7"),
            (&["a", "b", "1", "c"], "2:11", "2:14"),
            (&["a", "d e"], "3:3", "3:3"),
            (&["a", "d e", "0"], "4:7", "4:7"),
            (&["a", "d e", "0", "g"], "5:7", "5:10"),
            // What is missing is missing in what there is.
            (&["a", "d e", "0", "z", "y"], "4:7", "4:7"),
            (&["a", "z"], "1:1", "1:1"),
            (&["a", "b", "7"], "2:3", "2:6"),
            // An empty value has no place of its own.
            (&["a", "i"], "6:3", "6:3"),
            (&["j", "k"], "7:10", "7:13"),
        ];
        for (steps, key, value) in cases {
            assert_eq!(at(text, steps, Part::Key), *key, "{steps:?}");
            assert_eq!(at(text, steps, Part::Value), *value, "{steps:?}");
        }
        assert_eq!(at("\u{feff}a: 1", &["a"], Part::Value), "1:4");
        assert_eq!(at("b: &x {c: 1}\nd: *x", &["d", "c"], Part::Value), "1:11");
        assert_eq!(at("", &["a"], Part::Key), "1:1");
    }
}
