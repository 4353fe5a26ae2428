//! Writing a config file with comments.
//!
//! Every value is written by the YAML library; this module only puts the
//! pieces below each other, with comments between them. What comes out is
//! read again and compared with the entries, so no text from a foreign
//! document can end up as anything but a value or a comment.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use serde_saphyr::{FlowSeq, ser_options};

/// A key of a block, with comments.
#[derive(Debug)]
pub(super) struct Entry {
    notes: Vec<String>,
    key: &'static str,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Value(Value),
    Block(Vec<Entry>),
    Items(Vec<Item>),
}

/// An element of a list of blocks, with comments.
#[derive(Debug)]
pub(super) struct Item {
    /// Comments above it, one paragraph each.
    pub(super) notes: Vec<String>,
    /// Its keys.
    pub(super) entries: Vec<Entry>,
}

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The library has no YAML for a value.
    #[error("cannot write a value as YAML: {0}")]
    Write(#[from] serde_saphyr::ser_error::Error),
    /// The text parses to other values than those written.
    #[error("the file would not say what was meant; please report the document that led to it")]
    Differs,
}

impl Entry {
    /// A key with a value.
    pub(super) fn value(key: &'static str, value: impl Into<Value>) -> Self {
        Self { notes: Vec::new(), key, body: Body::Value(value.into()) }
    }

    /// A key with more keys below it.
    pub(super) fn block(key: &'static str, entries: Vec<Self>) -> Self {
        Self { notes: Vec::new(), key, body: Body::Block(entries) }
    }

    /// A key with a list of blocks below it.
    pub(super) fn items(key: &'static str, items: Vec<Item>) -> Self {
        Self { notes: Vec::new(), key, body: Body::Items(items) }
    }

    /// The same with a comment above it.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn tree(&self) -> Value {
        match &self.body {
            Body::Value(value) => value.clone(),
            Body::Block(entries) => tree(entries),
            Body::Items(items) => items.iter().map(|item| tree(&item.entries)).collect(),
        }
    }
}

/// The tree that these entries stand for.
fn tree(entries: &[Entry]) -> Value {
    let members = entries.iter().map(|entry| (entry.key.to_owned(), entry.tree()));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Writes a file: a comment at the top, then the entries.
///
/// # Errors
/// [`WriteError`]; neither kind is known to happen.
pub(super) fn write(head: &[String], entries: &[Entry]) -> Result<String, WriteError> {
    let mut lines = Vec::new();
    for (number, paragraph) in head.iter().enumerate() {
        if number > 0 {
            lines.push("#".into());
        }
        comment(&mut lines, paragraph);
    }
    for entry in entries {
        lines.extend(block(entry)?);
    }
    let text = lines.join("\n") + "\n";
    let read: Value = serde_saphyr::from_str(&text).map_err(|_| WriteError::Differs)?;
    if read == tree(entries) { Ok(text) } else { Err(WriteError::Differs) }
}

/// The lines of an entry, not indented.
fn block(entry: &Entry) -> Result<Vec<String>, WriteError> {
    let mut lines = Vec::new();
    entry.notes.iter().for_each(|note| comment(&mut lines, note));
    match &entry.body {
        Body::Value(value) => lines.extend(scalar_or_list(entry.key, value)?),
        Body::Block(entries) => {
            lines.push(format!("{}:", entry.key));
            for entry in entries {
                lines.extend(block(entry)?.into_iter().map(|line| indented("  ", &line)));
            }
        }
        Body::Items(items) => {
            lines.push(format!("{}:", entry.key));
            for item in items {
                let mut notes = Vec::new();
                item.notes.iter().for_each(|note| comment(&mut notes, note));
                lines.extend(notes.iter().map(|line| indented("  ", line)));
                let mut dash = "  - ";
                for entry in &item.entries {
                    for line in block(entry)? {
                        lines.push(indented(dash, &line));
                        dash = "    ";
                    }
                }
            }
        }
    }
    Ok(lines)
}

fn indented(by: &str, line: &str) -> String {
    format!("{by}{line}").trim_end().to_owned()
}

fn scalar_or_list(key: &str, value: &Value) -> Result<Vec<String>, WriteError> {
    struct Pair<'a>(&'a str, &'a Value);

    impl Serialize for Pair<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(self.0, &Styled(self.1))?;
            map.end()
        }
    }

    let options = ser_options! { prefer_block_scalars: false, compact_list_indent: false };
    let text = serde_saphyr::to_string_with_options(&Pair(key, value), options)?;
    Ok(text.lines().map(String::from).collect())
}

/// Lists of scalars on one line, everything else in block style.
struct Styled<'a>(&'a Value);

impl Serialize for Styled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(elements) if !elements.iter().any(is_collection) => {
                FlowSeq(elements).serialize(serializer)
            }
            Value::Array(elements) => serializer.collect_seq(elements.iter().map(Styled)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, Styled(value))))
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

fn is_collection(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

/// Longest comment line, without its indentation.
const WIDTH: usize = 88;

/// Adds a paragraph, wrapped. A character that could end the line, or that is
/// invisible, is written as its escape.
fn comment(lines: &mut Vec<String>, paragraph: &str) {
    let visible = |char: char| -> String {
        if matches!(char, ' '..='~') { char.into() } else { char.escape_debug().collect() }
    };
    let text: String = paragraph.chars().map(visible).collect();
    let mut line = String::from("#");
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, "#".into()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_well() {
        let item = |name: &str| Item {
            notes: vec![format!("About {name}.")],
            entries: vec![
                Entry::value("name", name),
                Entry::value("list", json!(["a: b", "true", "#c"])).note("A list."),
                Entry::value("map", json!({"x": [{"claim": ["a.b"], "is": "1"}]})),
            ],
        };
        let entries = [Entry::block(
            "auth",
            vec![Entry::value("on", true), Entry::items("all", vec![item("one"), item("two")])],
        )];
        let text = write(&["First.".into(), "Second.".into()], &entries).unwrap();
        assert!(text.starts_with("# First.\n#\n# Second.\nauth:\n"), "{text}");
        assert!(text.contains("\n    # About two.\n    - name: two\n"), "{text}");
        assert!(text.contains("\n      # A list.\n      list: ["), "{text}");
    }

    #[test]
    fn no_text_escapes_from_its_place() {
        let nasty = [
            "a\nauth: {enabled: false}",
            "x # y",
            "\u{2028}\u{85}\r\n- b",
            "*alias",
            "&anchor",
            "!tag",
            "'\"",
            "- ",
            "",
            " ",
            "null",
            "{{}}",
            "${HOME}",
            "%YAML",
            "---",
            "\u{feff}",
            "\0",
            "a: b",
            "é",
            "😀",
        ];
        for text in nasty {
            let entries = [
                Entry::value("a", text).note(text),
                Entry::value("b", json!([text, {"is": text}])),
                Entry::items(
                    "c",
                    vec![Item { notes: vec![text.into()], entries: vec![Entry::value("d", text)] }],
                ),
            ];
            let written = write(&[text.into()], &entries).expect(text);
            let top: Vec<_> =
                written.lines().filter(|line| !line.starts_with(['#', ' ', '-'])).collect();
            assert_eq!(top.len(), 3, "{text:?}\n{written}");
        }
    }
}
