//! Paths that are written as patterns, and what to write instead.
//!
//! Routes compare paths as they stand. A path with a wildcard or a regular
//! expression would load, match nothing, and leave what it was meant to protect
//! to the defaults.

use crate::report::Place;

/// What in a path makes it look like a pattern, if anything does.
pub(super) fn sign(path: &str) -> Option<&'static str> {
    const SIGNS: [(char, &str); 8] = [
        ('*', "`*`"),
        ('{', "`{`"),
        ('}', "`}`"),
        ('^', "`^`"),
        ('|', "`|`"),
        ('[', "`[`"),
        (']', "`]`"),
        ('\\', "`\\`"),
    ];
    let found = SIGNS.iter().find(|(char, _)| path.contains(*char)).map(|(_, told)| *told);
    found.or_else(|| path.ends_with('$').then_some("`$` at its end"))
}

/// What in a path is a pattern to other programs, but may be meant as it
/// stands.
pub(super) fn faint_sign(path: &str) -> Option<&'static str> {
    let segments = || path.split('/').skip(1);
    let is_named = |segment: &str| segment.len() > 1 && segment.starts_with(':');
    if segments().any(is_named) {
        Some("a segment that begins with `:`")
    } else if segments().any(|segment| segment.starts_with('<') && segment.ends_with('>')) {
        Some("a segment in `<` and `>`")
    } else if path.contains(".+") {
        Some("`.+`")
    } else {
        None
    }
}

/// What to write instead, for a value of the key `path` or `path_prefix`.
pub(super) fn advice(path: &str, place: &Place) -> String {
    if place.is_hidden() {
        return "write a path without it, or a `path_template`, in which `{name}` is one whole \
                segment"
            .into();
    }
    match Meant::of(path) {
        Meant::Below(prefix) => {
            format!("write `path_prefix: {prefix}`, which matches {}", everything_below(&prefix))
        }
        Meant::BelowOrOne(prefix, template) => format!(
            "write `path_prefix: {prefix}`, which matches {}, or `path_template: \"{template}\"` \
             for one segment there",
            everything_below(&prefix)
        ),
        Meant::Template(template) => format!(
            "write `path_template: \"{template}\"`, in which `{{name}}` is one whole segment"
        ),
        Meant::Path(path) => format!("write `path: {path}`"),
        Meant::Other(prefix) => format!(
            "write `path_prefix: {prefix}`, which matches {}, or a route for each path",
            everything_below(&prefix)
        ),
    }
}

fn everything_below(prefix: &str) -> String {
    match prefix {
        "/" => "every path".into(),
        prefix => format!("`{prefix}` and everything below it"),
    }
}

/// What a pattern is likely to mean.
#[derive(Debug, PartialEq)]
enum Meant {
    /// Everything below this path.
    Below(String),
    /// The same, or one segment there.
    BelowOrOne(String, String),
    /// This template.
    Template(String),
    /// This path.
    Path(String),
    /// Something else below this path.
    Other(String),
}

/// What a segment of a pattern is likely to mean.
#[derive(Debug, PartialEq)]
enum Segment {
    /// This name.
    Name(String),
    /// Any one segment, by this name if it has one.
    Any(Option<String>),
    /// Whatever follows.
    Rest,
    /// This name, and whatever follows.
    NameAndRest(String),
    /// Something else.
    Other,
}

impl Meant {
    fn of(pattern: &str) -> Self {
        let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
        let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
        // With and without what is below.
        let below = ["(/.*)?", "(?:/.*)?", "(/|$)", "(/|$).*", "/?.*"];
        if let Some(start) = below.iter().find_map(|below| pattern.strip_suffix(below)) {
            return Self::of(&format!("{start}/**"));
        }
        // Its `/` does not end a segment.
        let pattern = ["([^/]+)", "([^/]*)", "[^/]+", "[^/]*"]
            .iter()
            .fold(pattern.to_owned(), |pattern, any| pattern.replace(any, "{name}"));
        let pattern = pattern.strip_prefix('/').unwrap_or(&pattern);
        let segments: Vec<_> = pattern.split('/').map(Segment::of).collect();
        let names = |segments: &[Segment]| -> String {
            let names = segments.iter().map_while(|segment| match segment {
                Segment::Name(name) => Some(format!("/{name}")),
                _ => None,
            });
            names.collect()
        };
        let root = |path: String| if path.is_empty() { "/".into() } else { path };
        let leading = names(&segments);
        let Some((last, before)) = segments.split_last() else { return Self::Other(root(leading)) };
        let all_names = before.iter().all(|segment| matches!(segment, Segment::Name(_)));
        match last {
            Segment::Name(_) if all_names => Self::Path(leading),
            Segment::Rest if all_names => Self::Below(root(leading)),
            Segment::NameAndRest(name) if all_names => Self::Below(format!("{leading}/{name}")),
            Segment::Any(None) if all_names => {
                Self::BelowOrOne(root(leading.clone()), format!("{leading}/{{name}}"))
            }
            _ => match template(&segments) {
                Some(template) => Self::Template(template),
                None => Self::Other(root(leading)),
            },
        }
    }
}

/// The template of segments that are names, or any one segment.
fn template(segments: &[Segment]) -> Option<String> {
    let mut template = String::new();
    let mut unnamed = 0;
    for segment in segments {
        template.push('/');
        match segment {
            Segment::Name(name) => template.push_str(name),
            Segment::Any(Some(name)) => template.push_str(&format!("{{{name}}}")),
            Segment::Any(None) => {
                unnamed += 1;
                let number = if unnamed > 1 { unnamed.to_string() } else { String::new() };
                template.push_str(&format!("{{name{number}}}"));
            }
            _ => return None,
        }
    }
    Some(template)
}

impl Segment {
    fn of(text: &str) -> Self {
        let unescaped = text.replace('\\', "");
        match text {
            "*" => return Self::Any(None),
            "**" | ".*" | ".+" | "(.*)" | "(.+)" | "..." => return Self::Rest,
            "\\d+" | "[0-9]+" | "\\w+" => return Self::Any(None),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let name = name.split([':', '=']).next().unwrap_or(name);
            return match name {
                _ if name.starts_with('*') || name.ends_with("...") => Self::Rest,
                _ if is_name(name) => Self::Any(Some(name.into())),
                _ => Self::Any(None),
            };
        }
        let is_regex = unescaped.contains(['(', ')', '?']);
        if is_regex {
            return Self::Other;
        }
        if sign(&unescaped).is_none() {
            return Self::Name(unescaped);
        }
        let start = [".*", "*"].iter().find_map(|rest| unescaped.strip_suffix(rest));
        match start.filter(|start| sign(start).is_none() && !start.is_empty()) {
            Some(start) => Self::NameAndRest(start.into()),
            None => Self::Other,
        }
    }
}

/// Whether a template's `{…}` may hold this.
pub(super) fn is_name(name: &str) -> bool {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.bytes().all(name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_is_likely_to_mean() {
        let below = |prefix: &str| Meant::Below(prefix.into());
        let one = |prefix: &str, template: &str| Meant::BelowOrOne(prefix.into(), template.into());
        let template = |template: &str| Meant::Template(template.into());
        let cases = [
            ("/admin/*", one("/admin", "/admin/{name}")),
            ("/admin/**", below("/admin")),
            ("/admin/.*", below("/admin")),
            ("^/admin/.*$", below("/admin")),
            ("^/admin(/.*)?$", below("/admin")),
            ("^/admin(/|$)", below("/admin")),
            ("/admin(.*)$", Meant::Other("/".into())),
            ("/admin*", below("/admin")),
            ("/admin.*", below("/admin")),
            ("/admin/{*rest}", below("/admin")),
            ("/admin/{path...}", below("/admin")),
            ("*", one("/", "/{name}")),
            ("/*", one("/", "/{name}")),
            (".*", below("/")),
            ("**", below("/")),
            ("/v1/{id}/keys", template("/v1/{id}/keys")),
            ("/v1/{id:[0-9]+}/keys", template("/v1/{id}/keys")),
            ("/v1/{id=users/*}", Meant::Other("/v1".into())),
            ("/v1/*/keys", template("/v1/{name}/keys")),
            ("/v1/*/keys/*", template("/v1/{name}/keys/{name2}")),
            ("^/v1/[^/]+/keys$", template("/v1/{name}/keys")),
            ("/v1/\\d+", one("/v1", "/v1/{name}")),
            ("/v1/{id}", template("/v1/{id}")),
            ("/v1/{}/x", template("/v1/{name}/x")),
            ("/v1/(a|b)/x", Meant::Other("/v1".into())),
            ("/v[12]/x", Meant::Other("/".into())),
            ("/a/{id}.json", Meant::Other("/a".into())),
            ("^/status$", Meant::Path("/status".into())),
            ("/status$", Meant::Path("/status".into())),
            ("/a\\.b", Meant::Path("/a.b".into())),
            ("/v1/*/x/**", Meant::Other("/v1".into())),
        ];
        for (pattern, expected) in cases {
            assert!(sign(pattern).is_some(), "{pattern}");
            assert_eq!(Meant::of(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn ordinary_paths_have_no_sign() {
        for path in ["/", "/a.b/c-d_e~f", "/v1/models/a:b", "/x$y", "/Users('x')", "/a+b,c=d@e!"] {
            assert_eq!((sign(path), faint_sign(path)), (None, None), "{path}");
        }
        for path in ["/v1/:id", "/v1/<id>/x", "/admin/.+"] {
            assert!(sign(path).is_none() && faint_sign(path).is_some(), "{path}");
        }
    }
}
