//! The pages of the reference that are made from the program itself.
//!
//! `make docs-reference` writes them; the tests only compare.

use std::{env, fmt::Write as _, fs, path::Path};

use claimgate::{Reason, cli::Cli};
use clap::CommandFactory;
use serde_json::Value;

use super::{exposition, page};

/// Compares a page with its expected text, or writes it if `CLAIMGATE_WRITE_DOCS`
/// is set.
fn assert_page(name: &str, expected: &str) {
    if env::var_os("CLAIMGATE_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), expected).unwrap();
    }
    assert!(page(name) == expected, "{name} is not up to date; run `make docs-reference`");
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    let mut text = "# Commands\n\nWhat `--help` says, for each command. Made from the program; \
        [operations.md](operations.md#commands-and-exit-codes) has the exit codes.\n"
        .to_owned();
    let mut program = Cli::command().term_width(80);
    program.build();
    for command in program.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        // The value on this machine must not appear on the page.
        *command = command.clone().mut_args(|argument| argument.hide_env_values(true));
        let help = command.render_long_help().to_string();
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        write!(text, "\n## claimgate {name}\n\n```text\n{}\n```\n", help.join("\n").trim())
            .unwrap();
    }
    assert_page("docs/commands.md", &text);
}

#[test]
fn the_page_of_config_keys_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&page("schema/claimgate.schema.json")).unwrap();
    let mut keys = Keys { schema: &schema, blocks: Vec::new() };
    keys.visit("", &schema);
    let count: usize = keys.blocks.iter().map(|block| block.keys.len()).sum();
    assert!(count >= 90, "{count}");
    let text = format!(
        "# Configuration keys\n\nEvery key of the file, in the schema's words. Made from \
        `claimgate schema`; [configuration.md](configuration.md) explains how they work together. \
        `[]` is an element of a list, `*` a name of your choice.\n{}",
        keys.blocks.iter().map(Block::text).collect::<String>()
    );
    assert_page("docs/config-keys.md", &text);
}

#[test]
fn the_page_of_metrics_is_what_the_program_exports() {
    let text = exposition();
    let mut rows = String::new();
    for block in text.split("# HELP ").skip(1) {
        let (help, rest) = block.split_once('\n').unwrap();
        let (name, help) = help.split_once(' ').unwrap();
        let (kind, samples) = rest.split_once('\n').unwrap();
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        let labels = labels(samples.lines().next().unwrap());
        writeln!(rows, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    let count = rows.lines().count();
    assert!(count >= 20, "{count}");
    let text = format!(
        "# Metric names\n\nEvery metric that `/metrics` exports, in its own words. Made from the \
        program; [operations.md](operations.md#metrics) explains how to read them, \
        [dashboards.md](dashboards.md) shows them.\n\n\
        | name | type | labels | help |\n| --- | --- | --- | --- |\n{rows}"
    );
    assert_page("docs/metric-names.md", &text);
}

/// The names of a sample's labels, without a histogram's `le`.
fn labels(sample: &str) -> String {
    let Some((_, rest)) = sample.split_once('{') else { return String::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
    let names: Vec<_> =
        names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[test]
fn the_page_of_reason_words_is_the_closed_list() {
    let mut text = "# Reason words\n\nThe closed list, and the sentence that a client is told as \
        `error_description`. Made from the program; [reasons.md](reasons.md) explains each and \
        what to do about it.\n\n| reason | sentence |\n| --- | --- |\n"
        .to_owned();
    for reason in Reason::ALL {
        let sentence = reason.description();
        writeln!(text, "| [`{reason}`](reasons.md#{reason}) | {sentence} |").unwrap();
    }
    assert_page("docs/reason-words.md", &text);
}

/// A walk through the schema, which finds the keys of each block.
struct Keys<'s> {
    schema: &'s Value,
    blocks: Vec<Block>,
}

/// A mapping of the file.
struct Block {
    path: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    /// One for each shape of the block that has it and says something else of it.
    meanings: Vec<String>,
}

impl Block {
    /// A section with a heading for each key, so that each has an anchor, and
    /// the search lists each by itself.
    fn text(&self) -> String {
        let title = match self.path.as_str() {
            "" => "Keys of the file".to_owned(),
            path => format!("Keys of `{path}`"),
        };
        let keys = self.keys.iter().map(|key| {
            let (within, path) = match self.path.as_str() {
                "" => (String::new(), key.name.clone()),
                block => (format!(" in `{block}`"), format!("{block}.{}", key.name)),
            };
            let meanings = key.meanings.iter().map(|meaning| format!("`{path}`{meaning}\n"));
            let meanings = meanings.collect::<Vec<_>>().join("\n");
            format!("\n### `{}`{within}\n\n{meanings}", key.name)
        });
        format!("\n## {title}\n{}", keys.collect::<String>())
    }
}

impl<'s> Keys<'s> {
    fn visit(&mut self, path: &str, node: &'s Value) {
        let node = self.resolved(node);
        let members = node.get("properties").and_then(Value::as_object);
        for (name, property) in members.into_iter().flatten() {
            self.add(path, name, property);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.visit(&path, property);
        }
        if let Some(items) = node.get("items") {
            self.visit(&format!("{path}[]"), items);
        }
        for choice in ["anyOf", "oneOf"] {
            let branches = node.get(choice).and_then(Value::as_array);
            branches.into_iter().flatten().for_each(|branch| self.visit(path, branch));
        }
    }

    /// Adds a key of a block, unless another shape of the block had it before.
    fn add(&mut self, path: &str, name: &str, property: &Value) {
        let described = [property, self.resolved(property)];
        let member = |name| described.iter().find_map(|node| node.get(name));
        let description = member("description").and_then(Value::as_str);
        let default = member("default").filter(|default| !default.is_null());
        let mut meaning = default.map(|it| format!(", default `{it}`")).unwrap_or_default();
        if let Some(description) = description {
            write!(meaning, ": {}", description.replace('\n', " ")).unwrap();
        }
        let at = self.blocks.iter().position(|block| block.path == path).unwrap_or_else(|| {
            self.blocks.push(Block { path: path.to_owned(), keys: Vec::new() });
            self.blocks.len() - 1
        });
        let keys = &mut self.blocks[at].keys;
        match keys.iter_mut().find(|key| key.name == name) {
            Some(key) if key.meanings.contains(&meaning) => {}
            Some(key) => key.meanings.push(meaning),
            None => keys.push(Key { name: name.to_owned(), meanings: vec![meaning] }),
        }
    }

    fn resolved<'n>(&self, node: &'n Value) -> &'n Value
    where
        's: 'n,
    {
        let reference = node.get("$ref").and_then(Value::as_str);
        let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(node)
    }
}
