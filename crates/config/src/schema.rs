//! The JSON Schema of the config file, made from the types that read it.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform, transform_subschemas},
};
use serde_json::{Value, json};

use super::file::File;

/// Where it is published. Editors find it there by the `$schema` in a file's
/// first line, so it is under the address that Cargo.toml has.
const ID: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/raw/main/schema/claimgate.schema.json");

/// The JSON Schema (draft 2020-12) of the config file.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    RecursiveTransform(tidy).transform(&mut schema);
    allow_variables(&mut schema);
    let mut root = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID});
    if let (Value::Object(root), Value::Object(rest)) = (&mut root, schema.to_value()) {
        root.extend(rest);
    }
    root
}

/// Joins the lines of comments, and removes `uint64`, which JSON Schema does not
/// define as a format.
fn tidy(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if schema.get("format").is_some_and(|format| format == "uint64") {
        schema.remove("format");
    }
}

/// Allows a variable in place of a number, a boolean or a word from a closed
/// list; its value is known only when the file is loaded.
fn allow_variables(schema: &mut Schema) {
    const VARIABLE: &str = r"\$\{";
    // Subschemas first: what is added here must not be transformed again.
    transform_subschemas(&mut allow_variables, schema);
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => {
            many.iter().filter_map(|name| name.as_str().map(String::from)).collect()
        }
        _ => Vec::new(),
    };
    let is_typed = types.iter().any(|name| name == "boolean" || name == "integer");
    if is_typed && !types.iter().any(|name| name == "string") {
        let types: Vec<_> = types.into_iter().chain(["string".into()]).collect();
        schema.insert("type".into(), types.into());
        schema.insert("pattern".into(), VARIABLE.into());
    }
    if let Some(words) = schema.remove("enum") {
        let variable = json!({"type": "string", "pattern": VARIABLE});
        schema.insert("anyOf".into(), json!([{"enum": words}, variable]));
    }
    let words = schema.get("oneOf").and_then(Value::as_array).is_some_and(|choices| {
        choices.iter().all(|choice| choice.get("const").is_some_and(Value::is_string))
    });
    if words && let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        choices.push(json!({"type": "string", "pattern": VARIABLE}));
    }
}
