//! Rules for the paths of routes.

use claimgate_core::policy::path::MAX_BYTES;

use super::pattern;
use crate::report::Place;

/// How a path is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// As a path, without anything that looks like a pattern.
    Plain,
    /// With `literal: true`: what looks like a pattern is meant as it stands.
    Literal,
    /// As a template: `{name}` is one whole segment.
    Template,
}

/// A path that is normalised already, so that every reading of a request's path
/// can match it. Any other would never match, or only requests that are refused
/// as ambiguous.
pub(super) fn normalised(text: &str, written: Written, place: &Place) -> Option<String> {
    let problem = match text {
        "" => Some("is empty; write a path from `/` on".into()),
        _ if written == Written::Plain && pattern::sign(text).is_some() => {
            looks_like_pattern(text, place)
        }
        relative if !relative.starts_with('/') => {
            let advice = place.write_instead(&format!("/{relative}"));
            Some(format!("must start with `/`; {advice}"))
        }
        long if long.len() > MAX_BYTES => Some(format!(
            "has more than {MAX_BYTES} bytes, and such requests are refused; write a shorter \
             `path_prefix`"
        )),
        _ => {
            let byte = |byte| byte_problem(byte, written).map(String::from);
            let template =
                || (written == Written::Template).then(|| template_problem(text)).flatten();
            text.bytes().find_map(byte).or_else(|| untidy(text, place)).or_else(template)
        }
    };
    if let Some(problem) = problem {
        place.wrong(text, problem);
        return None;
    }
    if written == Written::Plain
        && let Some(sign) = pattern::faint_sign(text)
    {
        let path = place.quoted(text);
        place.warn(format_args!(
            "{path} has {sign}, which other programs take for a pattern, and is compared as it \
             stands; write `path_template`, in which `{{name}}` is one whole segment, or \
             `literal: true` beside it if it is meant so"
        ));
    }
    Some(text.into())
}

fn looks_like_pattern(text: &str, place: &Place) -> Option<String> {
    let sign = pattern::sign(text)?;
    let advice = pattern::advice(text, place);
    Some(format!(
        "has {sign} and looks like a pattern, but is compared as it stands; {advice} (or \
         `literal: true` beside it to compare it so)"
    ))
}

/// What is wrong with the segments of a template.
fn template_problem(text: &str) -> Option<String> {
    let mut has_name = false;
    for segment in text.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if pattern::is_name(name) => has_name = true,
            Some(_) => {
                return Some(
                    "has braces that hold more than a name; write letters, digits, `_` and `-` in \
                     them, such as `{id}`: it stands for one whole segment, whatever it is"
                        .into(),
                );
            }
            None if segment.contains(['{', '}']) => {
                return Some(
                    "has braces in a part of a segment; `{name}` stands for one whole segment, \
                     so write it between slashes, or a shorter `path_prefix`"
                        .into(),
                );
            }
            None => {
                if let Some(sign) = pattern::sign(segment) {
                    return Some(format!(
                        "has {sign}, which is compared as it stands; write `{{name}}` for one \
                         whole segment, or a shorter `path_prefix` for everything below it"
                    ));
                }
            }
        }
    }
    (!has_name).then(|| "has no `{name}`; write `path` instead of `path_template`".into())
}

fn byte_problem(byte: u8, written: Written) -> Option<&'static str> {
    match byte {
        b'?' => Some("has a query, which routes don't look at; write the part before the `?`"),
        b'#' => Some("has a fragment, which no request has; write the part before the `#`"),
        b'%' => Some(
            "holds `%`, but routes match decoded paths; write the characters themselves, or a \
             shorter `path_prefix`",
        ),
        // Compared as it stands, as was asked for; it is warned of.
        b'\\' if written == Written::Literal => None,
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
