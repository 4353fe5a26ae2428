//! How values that a client chose are shown, and what a challenge may quote.
//!
//! [`visible`] is for values: what people read, and what log lines and spans
//! hold. [`visible_json`] is for whole documents whose values must stay as they
//! are.

use std::{borrow::Cow, fmt::Write};

/// The value with everything that a reader could not see, or that would turn
/// the text around it, written as an escape.
pub fn visible(value: &str) -> Cow<'_, str> {
    if is_printable_ascii(value) || !value.contains(is_unseen) {
        return value.into();
    }
    let mut text = String::with_capacity(value.len() + 16);
    for char in value.chars() {
        match is_unseen(char) {
            true => text.extend(char.escape_default()),
            false => text.push(char),
        }
    }
    text.into()
}

/// The JSON text with each such character of its strings written as JSON has
/// escapes for it, so that it reads the same to a program. serde_json escapes
/// only what RFC 8259 demands: the control characters up to U+001F.
///
/// Line breaks stand between the tokens of a JSON text and stay.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |char| is_unseen(char) && char != '\n';
    if !json.contains(is_escaped) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if !is_escaped(char) {
            text.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a string can't fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text.into()
}

/// Whether all of it is printable ASCII, as most values are. No early exit, so
/// that the loop is one of whole vectors.
fn is_printable_ascii(value: &str) -> bool {
    value.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}

/// Whether a text fits into a quoted string of a challenge as it stands:
/// printable ASCII without `"` and `\` (RFC 9110, section 11.2; RFC 6750,
/// section 3).
pub fn is_quotable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// Control characters, and those that Unicode has for the direction and the
/// joining of text (UAX 9 and UTR 36).
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_in_a_value() {
        assert_eq!(visible("/ordinary/äöü"), "/ordinary/äöü");
        assert_eq!(visible("a\nb\u{202e}c\u{0}"), r"a\nb\u{202e}c\u{0}");
        assert_eq!(visible("\u{7f}\u{9b}31m\u{2066}"), r"\u{7f}\u{9b}31m\u{2066}");
        let shown = visible("a\u{85}");
        assert_eq!(visible(&shown), shown, "what is shown already stays");
    }

    #[test]
    fn nothing_hides_in_json_and_its_values_stay() {
        let value = serde_json::json!({
            "a\u{85}": ["\u{9b}31m", "\u{202e}gnp.exe", "\u{7f}", "\u{e0041}", "\n\t\u{1b}", "äö\u{1f600}"],
        });
        for json in [value.to_string(), format!("{value:#}\n")] {
            let shown = visible_json(&json);
            assert!(!shown.contains(|char| is_unseen(char) && char != '\n'), "{shown}");
            assert_eq!(shown.lines().count(), json.lines().count());
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
        assert!(matches!(visible_json(r#"{"a":"b"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_challenge_quotes_printable_ascii() {
        for (text, quotable) in [
            ("", true),
            ("a b:c", true),
            ("a\"b", false),
            ("a\\b", false),
            ("a\n", false),
            ("é", false),
        ] {
            assert_eq!(is_quotable(text), quotable, "{text:?}");
        }
    }
}
