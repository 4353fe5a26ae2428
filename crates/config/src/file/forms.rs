//! Building blocks of the file's types: lists, mappings and values that may
//! be written in more than one way.

use std::borrow::Cow;

use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, Map as _, MergeWithError, Value, ValueKind,
    ValuePointerRef, take_cf_content,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{problems::Problems, report::Place};

/// A list whose elements are present unless an error was reported.
pub struct List<T>(Vec<Option<T>>);

impl<T> List<T> {
    /// Each element and its place; an element left empty is an error.
    pub fn items<'r>(self, place: &Place<'r>) -> Vec<(Place<'r>, T)> {
        let present = |(index, element): (usize, Option<T>)| {
            let place = place.index(index);
            if element.is_none() {
                place.missing("write a value or remove the list element");
            }
            Some((place, element?))
        };
        self.0.into_iter().enumerate().filter_map(present).collect()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Deserr<Problems>> Deserr<Problems> for List<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        Vec::deserialize_from_value(value, location).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// A mapping with keys of the author's choice, in the order of the file.
pub struct Entries<T>(pub Vec<(String, Option<T>)>);

impl<T: Deserr<Problems>> Deserr<Problems> for Entries<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        let map = match value {
            Value::Map(map) => map,
            other => return Err(wrong_kind(other, &[ValueKind::Map], location)),
        };
        let mut entries = Vec::with_capacity(map.len());
        let mut problems = None;
        for (key, value) in map.into_iter() {
            let location = location.push_key(&key);
            match Option::deserialize_from_value(value.into_value(), location) {
                Ok(value) => entries.push((key, value)),
                Err(more) => {
                    problems = Some(take_cf_content(Problems::merge(problems, more, location)));
                }
            }
        }
        problems.map_or(Ok(Self(entries)), Err)
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<Option<T>>();
        json_schema!({"type": "object", "additionalProperties": values})
    }
}

/// One value, or a list of alternatives.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[allow(missing_docs, reason = "comments here would go into the schema")]
pub enum OneOrMany<T> {
    One(T),
    Many(List<T>),
}

impl<T> OneOrMany<T> {
    /// Each value and its place.
    pub fn items<'r>(self, place: &Place<'r>) -> Vec<(Place<'r>, T)> {
        match self {
            Self::One(value) => vec![(place.clone(), value)],
            Self::Many(values) => values.items(place),
        }
    }

    /// Whether it is a list without elements.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Many(values) if values.is_empty())
    }
}

impl Deserr<Problems> for OneOrMany<String> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::String(text) => Ok(Self::One(text)),
            Value::Sequence(_) => List::deserialize_from_value(value, location).map(Self::Many),
            other => Err(wrong_kind(other, &[ValueKind::String, ValueKind::Sequence], location)),
        }
    }
}

impl Deserr<Problems> for OneOrMany<Scalar> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::Sequence(_) => List::deserialize_from_value(value, location).map(Self::Many),
            Value::Map(_) => Err(wrong_kind(value, &SCALARS_OR_LIST, location)),
            scalar => Scalar::deserialize_from_value(scalar, location).map(Self::One),
        }
    }
}

// Whether to read a discovery document, or its URL.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[allow(missing_docs, reason = "comments here would go into the schema")]
pub(crate) enum Discovery {
    Usual(bool),
    At(String),
}

impl Deserr<Problems> for Discovery {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::Boolean(usual) => Ok(Self::Usual(usual)),
            // As a variable gives them.
            Value::String(text) => Ok(match text.as_str() {
                "true" => Self::Usual(true),
                "false" => Self::Usual(false),
                _ => Self::At(text),
            }),
            other => Err(wrong_kind(other, &[ValueKind::Boolean, ValueKind::String], location)),
        }
    }
}

/// A string, number or boolean.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct Scalar(#[schemars(with = "ScalarSchema")] pub serde_json::Value);

const SCALARS: [ValueKind; 3] = [ValueKind::String, ValueKind::Float, ValueKind::Boolean];
const SCALARS_OR_LIST: [ValueKind; 4] =
    [ValueKind::String, ValueKind::Float, ValueKind::Boolean, ValueKind::Sequence];

impl Deserr<Problems> for Scalar {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::Null | Value::Sequence(_) | Value::Map(_) => {
                Err(wrong_kind(value, &SCALARS, location))
            }
            scalar => Ok(Self(scalar.into())),
        }
    }
}

struct ScalarSchema;

impl JsonSchema for ScalarSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// A value that null turns off; leaving it out means the default.
#[derive(Default)]
pub enum Switchable<T> {
    /// The key is missing.
    #[default]
    LeftOut,
    /// The value is null.
    Off,
    /// Any other value.
    On(T),
}

impl<T: Deserr<Problems>> Deserr<Problems> for Switchable<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        let value = Option::deserialize_from_value(value, location)?;
        Ok(value.map_or(Self::Off, Self::On))
    }
}

impl<T: JsonSchema> JsonSchema for Switchable<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }

    fn _schemars_private_is_option() -> bool {
        true
    }
}

/// A whole number from `LEAST` to `MOST`. One message tells of every wrong value,
/// whether it is not a number, a fraction, or too small or too large.
#[derive(Clone, Copy)]
pub(crate) struct Whole<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64> Deserr<Problems> for Whole<LEAST, MOST> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::Integer(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            other => Err(Problems::wrong_number(other.into(), LEAST..=MOST, location)),
        }
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Whole_from_{LEAST}_to_{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": MOST})
    }
}

/// `auto` or a number of threads.
pub(crate) enum Workers {
    Auto(String),
    Threads(u64),
}

impl Deserr<Problems> for Workers {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::Integer(threads) => Ok(Self::Threads(threads)),
            Value::String(word) if word.parse::<u64>().is_err() => Ok(Self::Auto(word)),
            other => Err(wrong_kind(other, &[ValueKind::Integer], location)),
        }
    }
}

impl JsonSchema for Workers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 1024}]})
    }
}

/// A mapping or a list, whichever is written.
pub(crate) fn map_or_list<V, M, L, T>(
    value: Value<V>,
    location: ValuePointerRef,
    of_map: impl FnOnce(M) -> T,
    of_list: impl FnOnce(L) -> T,
) -> Result<T, Problems>
where
    V: IntoValue,
    M: Deserr<Problems>,
    L: Deserr<Problems>,
{
    match value {
        Value::Map(_) => M::deserialize_from_value(value, location).map(of_map),
        Value::Sequence(_) => L::deserialize_from_value(value, location).map(of_list),
        other => Err(wrong_kind(other, &[ValueKind::Map, ValueKind::Sequence], location)),
    }
}

/// The error for a value of a wrong type.
pub fn wrong_kind<V: IntoValue>(
    actual: Value<V>,
    accepted: &[ValueKind],
    location: ValuePointerRef,
) -> Problems {
    let error = ErrorKind::IncorrectValueKind { actual, accepted };
    take_cf_content(Problems::error(None, error, location))
}
