//! Rules for the paths of routes.

use claimgate_core::policy::path::MAX_BYTES;

use crate::report::Place;

/// A path that is normalised already, so that every reading of a request's path
/// can match it. Any other would never match, or only requests that are refused
/// as ambiguous.
pub(super) fn normalised(text: &str, place: &Place) -> Option<String> {
    let problem = match text {
        "" => Some("is empty; write a path from `/` on".into()),
        relative if !relative.starts_with('/') => {
            let advice = place.write_instead(&format!("/{relative}"));
            Some(format!("must start with `/`; {advice}"))
        }
        long if long.len() > MAX_BYTES => Some(format!(
            "has more than {MAX_BYTES} bytes, and such requests are refused; write a shorter \
             `path_prefix`"
        )),
        _ => text.bytes().find_map(byte_problem).map(String::from).or_else(|| untidy(text, place)),
    };
    match problem {
        Some(problem) => {
            place.wrong(text, problem);
            None
        }
        None => Some(text.into()),
    }
}

fn byte_problem(byte: u8) -> Option<&'static str> {
    match byte {
        b'?' => Some("has a query, which routes don't look at; write the part before the `?`"),
        b'#' => Some("has a fragment, which no request has; write the part before the `#`"),
        b'%' => Some(
            "holds `%`, but routes match decoded paths; write the characters themselves, or a \
             shorter `path_prefix`",
        ),
        b'\\' => Some("holds `\\`, which is read as `/`; write `/`"),
        b';' => Some("holds `;`, but path parameters are dropped; write the path without them"),
        byte if !byte.is_ascii_graphic() => Some(
            "holds a character that requests must percent-encode; write a shorter `path_prefix`",
        ),
        _ => None,
    }
}

/// Reports empty and dot segments, with the path to write instead.
fn untidy(text: &str, place: &Place) -> Option<String> {
    let mut segments = Vec::new();
    let mut tidy = true;
    let mut rest = text[1..].split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "" if last => segments.push(""),
            "" | "." => tidy = false,
            ".." => {
                tidy = false;
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let written = format!("/{}", segments.join("/"));
    (!tidy).then(|| format!("has empty or dot segments; {}", place.write_instead(&written)))
}
