//! How values that a client chose are shown, and what a challenge may quote.

use std::borrow::Cow;

/// The value with everything that a reader could not see, or that would turn
/// the text around it, written as an escape.
pub fn visible(value: &str) -> Cow<'_, str> {
    if !value.contains(is_unseen) {
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
