//! Text to tree: the YAML of a config file as JSON values.

use serde_json::{Map, Value};
use serde_saphyr::{
    Options,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

use super::{errors::ConfigErrors, report::Report, wiped};

/// The blocks of this program.
pub(super) const OWN_BLOCKS: [&str; 2] = ["auth", "server"];

/// Parses a file; `what` names it in errors. Invalid YAML is one error with its
/// line.
pub(super) fn parse(text: &str, what: &str) -> Result<Map<String, Value>, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let error = error.without_snippet().to_string();
        ConfigErrors::single(what, format_args!("is not valid YAML: {}", one_line(&error)))
    })?;
    match tree {
        Value::Object(blocks) => Ok(blocks),
        Value::Null => Ok(Map::new()),
        _ => Err(ConfigErrors::single(
            what,
            "must be a mapping at the top level; write each block's name, such as `auth:`, and, \
             indented below it, its keys",
        )),
    }
}

/// YAML 1.2 rules. The limits stop alias bombs and allow files with some 100,000
/// API keys. Snippets are off because they would quote secrets.
fn options() -> Options {
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

/// Removes the blocks of other programs, with one warning that lists them.
pub(super) fn warn_of_other_blocks(tree: &mut Map<String, Value>, report: &Report) {
    let mut others = Vec::new();
    retain(tree, |name| {
        let own = OWN_BLOCKS.contains(&name);
        if !own {
            others.push(format!("`{}`", name.escape_debug()));
        }
        own
    });
    if !others.is_empty() {
        report.warn(format!(
            "other top-level keys than `auth` and `server` are ignored: {}",
            others.join(", ")
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
