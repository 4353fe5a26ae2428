//! Text to tree: the YAML of a config file as JSON values.

use serde_json::{Map, Value};
use serde_saphyr::{
    Error, Options,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

use super::{errors::ConfigErrors, position::Position};

/// The text that was read, and its name.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    /// How errors name it.
    pub(super) name: &'t str,
    /// What it holds.
    pub(super) text: &'t str,
}

/// Parses a file. Invalid YAML is one error with its position.
pub(super) fn parse(source: Source<'_>) -> Result<Map<String, Value>, ConfigErrors> {
    let tree = serde_saphyr::from_str_with_options(body(source.text), options());
    match tree.map_err(|error| not_yaml(source.name, error.without_snippet()))? {
        Value::Object(blocks) => Ok(blocks),
        Value::Null => Ok(Map::new()),
        _ => Err(ConfigErrors::of_file(
            source.name,
            Some(Position::START),
            "must be a mapping at the top level; write each block's name, such as `auth:`, and, \
             indented below it, its keys",
        )),
    }
}

/// A text without its byte-order mark.
pub(super) fn body(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn not_yaml(file: &str, error: &Error) -> ConfigErrors {
    let position = error.location().and_then(Position::of).or(Some(Position::START));
    let message = match error {
        Error::MultipleDocuments { .. } => "begins a second YAML document here, and only one is \
                                            read; remove the `---`, and write each block once"
            .into(),
        // Only keys are read as strings.
        Error::NullIntoString { .. } => "has a key that is null; write the key's name, in quotes \
                                         if it is `null` or `~`"
            .into(),
        Error::Unexpected { expected: "string scalar", .. } => {
            "has a list or a mapping for a key; write the key's name".into()
        }
        error => format!("is not valid YAML: {}", one_line(&error.to_string())),
    };
    ConfigErrors::of_file(file, position, message)
}

/// YAML 1.2 rules. The limits stop alias bombs and allow files with some 100,000
/// API keys. Snippets are off because they would quote secrets.
pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4_000_000,
            max_nodes: 2_000_000,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The parser's message on one line, without its advice to programmers.
fn one_line(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}
