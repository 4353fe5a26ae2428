//! How a report for people is laid out: lines that fit a terminal, with colour
//! where it is wanted.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSeparator, WordSplitter};

/// The longest line, in columns.
const COLUMNS: usize = 100;

const BOLD: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// Lays out an explanation: each line is wrapped, what follows of it is
/// indented, and labels and answers have a colour. The caller removes
/// the colour where it is not wanted.
pub(super) fn explanation(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let hanging = " ".repeat(indent + 2);
        let options = Options::new(COLUMNS)
            .subsequent_indent(&hanging)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation);
        let wrapped = textwrap::wrap(line, options);
        if wrapped.is_empty() {
            out.push('\n');
        }
        for (number, part) in wrapped.iter().enumerate() {
            match number {
                0 if indent == 0 => paint(&mut out, part),
                _ => out.push_str(part),
            }
            out.push('\n');
        }
    }
    out
}

/// The label of a line, and the word behind it that matters.
fn paint(out: &mut String, line: &str) {
    let Some((label, rest)) = line.split_once(": ") else {
        out.push_str(line);
        return;
    };
    let first = rest.split([',', ' ']).next().unwrap_or_default();
    // Writing to a string can't fail.
    let _ = match (label, answer_style(first)) {
        ("allow", _) => write!(out, "{GREEN}allow: {first}{GREEN:#}{}", &rest[first.len()..]),
        ("deny", _) => write!(out, "{RED}deny: {first}{RED:#}{}", &rest[first.len()..]),
        (label, Some(style)) if label.starts_with("provider ") => {
            write!(out, "{BOLD}{label}:{BOLD:#} {style}{first}{style:#}{}", &rest[first.len()..])
        }
        (label, _) => write!(out, "{BOLD}{label}:{BOLD:#} {rest}"),
    };
}

fn answer_style(answer: &str) -> Option<Style> {
    match answer {
        "authenticated" => Some(GREEN),
        "refused" => Some(RED),
        "unavailable" => Some(YELLOW),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(&explanation(text)).to_string()
    }

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        let long = format!("  {}{}", "word ".repeat(60), "x".repeat(250));
        let text = format!("deny: expired (the token has expired)\n\nroute: none\n{long}\n");
        let out = plain(&text);
        assert!(out.lines().all(|line| line.chars().count() <= COLUMNS), "{out}");
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeezed(&out), squeezed(&text));
        assert!(out.starts_with("deny: expired (the token has expired)\n\nroute: none\n  word"));
        assert!(out.contains("\n    word"), "{out}");
    }

    #[test]
    fn what_matters_has_a_colour() {
        for (line, expected) in [
            ("allow: ok (fine)", format!("{GREEN}allow: ok{GREEN:#} (fine)\n")),
            ("deny: expired (so)", format!("{RED}deny: expired{RED:#} (so)\n")),
            ("next: go", format!("{BOLD}next:{BOLD:#} go\n")),
            (
                "provider a: refused, expired",
                format!("{BOLD}provider a:{BOLD:#} {RED}refused{RED:#}, expired\n"),
            ),
            ("  deny: not the first column", "  deny: not the first column\n".into()),
            ("\n", "\n".into()),
        ] {
            assert_eq!(explanation(line), expected);
        }
    }
}
