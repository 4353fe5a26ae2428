//! API keys in plaintext, wiped from memory once their hash is known.
//!
//! A key passes through the file's text, the environment's values, the tree
//! and the file's types; each of them is wiped, so that a memory dump of the
//! running service has no key in it. Two places can't be wiped: the process's
//! environment, which the operating system holds, and the parser's own buffers.
//! The parser borrows a key from the text unless it has to be unescaped or
//! joined, and drops what it has built where the YAML ends early.

use std::{borrow::Cow, ops::Deref};

use deserr::{Deserr, IntoValue, Value as Found, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use zeroize::Zeroizing;

use super::problems::Problems;

/// A string of the file that is wiped when it is dropped.
pub(super) struct Secret(Zeroizing<String>);

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deserr<Problems> for Secret {
    fn deserialize_from_value<V: IntoValue>(
        value: Found<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        String::deserialize_from_value(value, location).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The schema of a string.
impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
