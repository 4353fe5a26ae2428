//! Text to tree: the YAML of a config file as JSON values.

use serde_json::{Map, Value};
use serde_saphyr::{
    Error, Options,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

use super::{
    errors::ConfigErrors,
    homes,
    positions::Position,
    report::{Place, Source},
    shape, wiped,
};

/// The blocks of this program.
pub(super) const OWN_BLOCKS: [&str; 2] = ["auth", "server"];

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

/// Removes the blocks of other programs, with one warning that lists them. Keys
/// of an own block that stand beside it, not in it, are errors where it is
/// empty.
pub(super) fn set_other_blocks_apart(tree: &mut Map<String, Value>, root: &Place) {
    let mut others: Vec<String> = Vec::new();
    let is_empty = |block: &str| tree.get(block).is_none_or(Value::is_null);
    let empty: Vec<_> = OWN_BLOCKS.into_iter().filter(|block| is_empty(block)).collect();
    retain(tree, |name| {
        let own = OWN_BLOCKS.contains(&name);
        if !own {
            others.push(name.into());
        }
        own
    });
    let mut advice = Vec::new();
    for name in &others {
        let Some(block) = homes::block_of(name) else {
            let meant = OWN_BLOCKS.into_iter().find(|block| shape::is_meant(name, block));
            match meant.filter(|block| empty.contains(block)) {
                Some("auth") => {
                    root.key("auth").is_misspelt();
                    root.key(name).wrong_key("is not a block of Claimgate; did you mean `auth`?");
                }
                Some(block) => {
                    advice.push(format!("did you mean `{block}` by `{}`?", name.escape_debug()))
                }
                None => {}
            }
            continue;
        };
        if block == "auth" && empty.contains(&block) {
            root.key(block).is_misspelt();
            root.key(name).wrong_key(format_args!(
                "is a key of `{block}`, but stands beside it; write it, and all that belongs to \
                 it, below a line `{block}:` and indented by two spaces"
            ));
        } else {
            advice.push(format!(
                "`{name}` is also a key of `{block}`: indent it if it is meant there"
            ));
        }
    }
    if !others.is_empty() {
        let names: Vec<_> =
            others.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        let advice: String = advice.iter().map(|advice| format!("; {advice}")).collect();
        root.warn(format_args!(
            "other top-level keys than `auth` and `server` are ignored: {}{advice}",
            names.join(", ")
        ));
    }
}

/// Removes and wipes every block for whose name `stays` returns false.
pub(super) fn retain(tree: &mut Map<String, Value>, mut stays: impl FnMut(&str) -> bool) {
    tree.retain(|name, block| {
        let stays = stays(name);
        if !stays {
            wiped::wipe(block);
        }
        stays
    });
}
