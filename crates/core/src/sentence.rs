//! One sentence on why a request was denied, for log, status page, span and
//! `explain`: short whatever a client sent, and on one line.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

use crate::text::visible;

/// The longest sentence, in bytes.
pub(crate) const MAX_SENTENCE_BYTES: usize = 256;

/// The longest value within a sentence, in bytes, so that one which a client
/// chose does not push out what was wanted instead.
const MAX_VALUE_BYTES: usize = 64;

/// How many values of a list are told.
const MAX_LISTED: usize = 4;

const ELLIPSIS: &str = "…";

/// A sentence of at most [`MAX_SENTENCE_BYTES`], without characters that a
/// reader can't see.
pub(crate) struct Sentence(String);

impl Sentence {
    /// Writes a sentence; what is too long is not even formatted.
    pub(crate) fn of(sentence: fmt::Arguments<'_>) -> String {
        let mut written = Self(String::with_capacity(MAX_SENTENCE_BYTES / 2));
        // An error only says that the end was cut off.
        let _ = written.write_fmt(sentence);
        written.0
    }
}

impl Write for Sentence {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_SENTENCE_BYTES - ELLIPSIS.len() - self.0.len();
        // What can't fit is not looked at: a client may send much of it.
        let begin = &text[..text.floor_char_boundary(room + 1)];
        let shown = visible(begin);
        if begin.len() == text.len() && shown.len() <= room {
            self.0.push_str(&shown);
            return Ok(());
        }
        self.0.push_str(&shown[..shown.floor_char_boundary(room)]);
        self.0.push_str(ELLIPSIS);
        Err(fmt::Error)
    }
}

/// A name as it stands where it can be told from the words around it, else
/// quoted; cut if it is long.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cut = &self.0[..self.0.floor_char_boundary(MAX_VALUE_BYTES)];
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@*~".contains(&byte);
        match !cut.is_empty() && cut.bytes().all(is_plain) {
            true => f.write_str(cut)?,
            false => write!(f, "{cut:?}")?,
        }
        if cut.len() < self.0.len() { f.write_str(ELLIPSIS) } else { Ok(()) }
    }
}

/// A claim's value as JSON, cut if it is long.
pub(crate) struct Json<'a>(pub(crate) &'a Value);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { to: f, room: MAX_VALUE_BYTES, is_over: false };
        match write!(cut, "{}", self.0) {
            Err(_) if cut.is_over => f.write_str(ELLIPSIS),
            result => result,
        }
    }
}

/// Passes on as much as there is room for.
struct Cut<'w, 'f> {
    to: &'w mut Formatter<'f>,
    room: usize,
    is_over: bool,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let cut = &text[..text.floor_char_boundary(self.room)];
        self.room -= cut.len();
        self.to.write_str(cut)?;
        self.is_over = cut.len() < text.len();
        if self.is_over { Err(fmt::Error) } else { Ok(()) }
    }
}

/// `a, b and 3 more`; `none`.
pub(crate) struct List<I>(pub(crate) I, pub(crate) &'static str);

/// The values joined by commas.
pub(crate) fn list<I>(values: I) -> List<I::IntoIter>
where
    I: IntoIterator<IntoIter: Clone, Item: Display>,
{
    List(values.into_iter(), ", ")
}

/// The values of which one is enough.
pub(crate) fn any<I>(values: I) -> List<I::IntoIter>
where
    I: IntoIterator<IntoIter: Clone, Item: Display>,
{
    List(values.into_iter(), " or ")
}

/// Names joined by commas.
pub(crate) fn names<'a, I>(names: I) -> List<impl Iterator<Item = Name<'a>> + Clone>
where
    I: IntoIterator<IntoIter: Clone, Item = &'a str>,
{
    List(names.into_iter().map(Name), ", ")
}

impl<I: Iterator<Item: Display> + Clone> Display for List<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut values = self.0.clone();
        let Some(first) = values.next() else { return f.write_str("none") };
        write!(f, "{first}")?;
        for value in values.by_ref().take(MAX_LISTED - 1) {
            write!(f, "{}{value}", self.1)?;
        }
        match values.count() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A length of time in seconds, as people say it: `646 s`, `3 hours`.
pub(crate) struct Span(pub(crate) f64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const HOUR: f64 = 3600.0;
        const DAY: f64 = 86_400.0;
        match self.0 {
            long if long >= 2.0 * DAY => write!(f, "{:.0} days", (long / DAY).floor()),
            long if long >= 2.0 * HOUR => write!(f, "{:.0} hours", (long / HOUR).floor()),
            short => write!(f, "{:.0} s", short.ceil()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sentence_is_bounded_and_on_one_line() {
        let cases = [
            ("short".to_owned(), "short".to_owned()),
            ("a\r\nb\u{202e}".to_owned(), r"a\r\nb\u{202e}".to_owned()),
            ("é".repeat(1000), "é".repeat(126) + "…"),
            ("a".repeat(253), "a".repeat(253)),
            ("a".repeat(254), "a".repeat(253) + "…"),
            ("\n".repeat(1000), r"\n".repeat(126) + "\\…"),
        ];
        for (text, expected) in cases {
            let sentence = Sentence::of(format_args!("{text}"));
            assert_eq!(sentence, expected);
            assert!(sentence.len() <= MAX_SENTENCE_BYTES);
        }
        let long = Sentence::of(format_args!("{}{}", "a".repeat(250), "b".repeat(250)));
        assert_eq!(long, "a".repeat(250) + "bbb…");
    }

    #[test]
    fn names_are_quoted_where_they_could_be_mistaken() {
        let long = "k".repeat(1000);
        let cut = "k".repeat(64) + "…";
        for (name, expected) in [
            ("key-1", "key-1"),
            ("https://issuer.example.com/a", "https://issuer.example.com/a"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a, the issuer has a", r#""a, the issuer has a""#),
            ("a\"\n", r#""a\"\n""#),
            (&long, &cut),
        ] {
            assert_eq!(Name(name).to_string(), expected);
        }
    }

    #[test]
    fn values_are_json_and_cut() {
        assert_eq!(Json(&json!(["a", 1])).to_string(), r#"["a",1]"#);
        let long = Json(&json!(vec!["é".repeat(500); 500])).to_string();
        assert_eq!(long, format!("[\"{}…", "é".repeat(31)));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(Vec::<String>::new()).to_string(), "none");
        assert_eq!(any(["a", "b"]).to_string(), "a or b");
        assert_eq!(names(["a", "b", "c d", "e"]).to_string(), r#"a, b, "c d", e"#);
        assert_eq!(list(1..=6).to_string(), "1, 2, 3, 4 and 2 more");
    }

    #[test]
    fn spans_are_told_in_one_unit() {
        for (seconds, expected) in [
            (0.2, "1 s"),
            (646.0, "646 s"),
            (7199.0, "7199 s"),
            (7200.0, "2 hours"),
            (172_799.0, "47 hours"),
            (200_000.0, "2 days"),
        ] {
            assert_eq!(Span(seconds).to_string(), expected);
        }
    }
}
