//! `${NAME}`, `${NAME:-default}` and `$$` inside string values.
//!
//! Variables are replaced after the YAML is parsed, so no character of a
//! secret can change the structure, and only once: references in a variable's
//! value stay as they are. As in a shell, `:-` applies to an empty variable too.
//!
//! A value may be a secret: copies of it that are made here are wiped.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::report::Place;

/// Replaces the variables in every string below `tree`; keys stay as they are.
///
/// A string with an error becomes null, so that later steps report nothing more
/// about it.
pub(super) fn substitute(
    tree: &mut Map<String, Value>,
    env: &dyn Fn(&str) -> Option<String>,
    place: &Place,
) {
    for (key, value) in tree.iter_mut() {
        substitute_value(value, env, &place.key(key));
    }
}

fn substitute_value(value: &mut Value, env: &dyn Fn(&str) -> Option<String>, place: &Place) {
    match value {
        Value::Object(map) => substitute(map, env, place),
        Value::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                substitute_value(element, env, &place.index(index));
            }
        }
        Value::String(text) if text.contains('$') => match expand(text, env) {
            Ok(expanded) => {
                if has_reference(text) {
                    place.came_from_environment(text);
                }
                if let Some(name) = bare_name(text) {
                    place.has_bare_reference(name, text.len() == name.len() + 1);
                }
                *value = Value::String(expanded);
            }
            Err(Problem::Unset(name)) => {
                let advice = match place.is_secret() {
                    true => "set it".into(),
                    false => format!("set it, or write `${{{name}:-default}}`"),
                };
                place.error(format_args!(
                    "needs the environment variable `{name}`, which is not set; {advice}"
                ));
                *value = Value::Null;
            }
            Err(Problem::Malformed(problem)) => {
                place.error(problem);
                *value = Value::Null;
            }
        },
        _ => {}
    }
}

/// Why a string can't be used.
#[derive(Debug, PartialEq)]
enum Problem {
    /// This variable is not set.
    Unset(String),
    /// Something in it is not a reference.
    Malformed(String),
}

/// Whether there is a `${` that is not a literal one.
fn has_reference(text: &str) -> bool {
    text.replace("$$", "").contains("${")
}

/// The name in the first `$NAME` without braces.
fn bare_name(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let after = &rest[rest.find('$')? + 1..];
        let end = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let name = &after[..end.count()];
        if is_variable_name(name) {
            return Some(name);
        }
        rest = match after.strip_prefix('{') {
            Some(inside) => inside.split_once('}').map_or("", |(_, behind)| behind),
            None => after.strip_prefix('$').unwrap_or(after),
        };
    }
}

/// Messages name variables, never what surrounds them: that may be a secret.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let malformed = |problem: &str| Problem::Malformed(problem.into());
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        parts.push(Part::Literal(&rest[..at]));
        let after = &rest[at + 1..];
        if let Some(reference) = after.strip_prefix('{') {
            let (body, tail) = reference.split_once('}').ok_or_else(|| {
                malformed("has `${` without a `}`; write `${NAME}`, or `$${` for a literal `${`")
            })?;
            parts.push(Part::Value(look_up(body, env)?));
            rest = tail;
        } else {
            parts.push(Part::Literal("$"));
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    parts.push(Part::Literal(rest));
    let parts = parts.iter().map(Part::text);
    // Allocated once: a string that grows leaves copies behind.
    let mut expanded = String::with_capacity(parts.clone().map(str::len).sum());
    parts.for_each(|part| expanded.push_str(part));
    Ok(expanded)
}

/// A part of the expanded string.
enum Part<'t> {
    Literal(&'t str),
    Value(Zeroizing<String>),
}

impl Part<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Value(text) => text,
        }
    }
}

fn look_up(body: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Zeroizing<String>, Problem> {
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    if !is_variable_name(name) {
        return Err(Problem::Malformed(
            "has a malformed `${…}`; write `${NAME}` or `${NAME:-default}` with a name of \
             letters, digits and `_`, or `$${` for a literal `${`"
                .into(),
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Problem::Malformed(format!(
            "has a default for `{name}` that holds `${{`; defaults can't be nested"
        )));
    }
    match (env(name).map(Zeroizing::new), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.replace("$$", "$").into()),
        (None, None) => Err(Problem::Unset(name.into())),
    }
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".into()),
            "EMPTY" => Some(String::new()),
            "REFERENCE" => Some("${A}$$".into()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once() {
        let cases = [
            ("${A}", "alpha"),
            ("x-${A}-${A}", "x-alpha-alpha"),
            ("${GONE:-d}", "d"),
            ("${GONE:-}", ""),
            ("${GONE:-a:-b}", "a:-b"),
            ("${GONE:-pa$$word}", "pa$word"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "alpha"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$$", "$$"),
            ("$$${A}", "$alpha"),
            ("pa$word$", "pa$word$"),
            ("${REFERENCE}", "${A}$$"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn malformed_references_are_errors() {
        let cases = [
            ("${A", "without a `}`"),
            ("${}", "malformed"),
            ("${A-d}", "malformed"),
            ("${1A}", "malformed"),
            ("${A:=d}", "malformed"),
            ("${ A }", "malformed"),
            ("${:-d}", "malformed"),
            ("${GONE:-${A}}", "nested"),
        ];
        for (text, fragment) in cases {
            let problem = expand(text, &env).expect_err(text);
            let Problem::Malformed(problem) = problem else { panic!("{text}: {problem:?}") };
            assert!(problem.contains(fragment), "{text}: {problem}");
        }
        assert_eq!(expand("a${GONE}", &env), Err(Problem::Unset("GONE".into())));
    }

    #[test]
    fn names_without_braces_are_found() {
        let cases = [
            ("$A", Some("A")),
            ("https://$HOST/x", Some("HOST")),
            ("${A}$b_1-", Some("b_1")),
            ("$$A", None),
            ("$$$A", Some("A")),
            ("${A}", None),
            ("pa$", None),
            ("$1", None),
            ("$2b$10$x", Some("x")),
            ("${", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bare_name(text), expected, "{text}");
        }
    }
}
