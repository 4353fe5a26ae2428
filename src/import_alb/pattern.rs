//! ALB's wildcard patterns: `*` is any number of characters, `?` exactly one,
//! and both cross `/`.

use crate::{config, policy::path};

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(String);

/// How much of a path pattern Claimgate's `path` and `path_prefix` can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One path, exactly.
    Exact(String),
    /// Every path that begins with this and a slash: `path_prefix`, less the
    /// path itself.
    Below(String),
    /// This path and all below it, and besides what merely begins with the
    /// same letters, which can't be expressed.
    Beginning(String),
    /// Paths of these segments, `None` being any one. ALB's `*` also matches
    /// several, or none, which can't be expressed.
    Template(Vec<Option<String>>),
    /// None of it.
    Vague,
}

impl Glob {
    /// A pattern from its text; `**` is the same as `*`.
    pub(super) fn new(pattern: &str) -> Self {
        let mut collapsed = String::with_capacity(pattern.len());
        for char in pattern.chars() {
            if char != '*' || !collapsed.ends_with('*') {
                collapsed.push(char);
            }
        }
        Self(collapsed)
    }

    /// The pattern.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has no wildcard.
    pub(super) fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// What every match begins with.
    pub(super) fn literal_start(&self) -> &str {
        self.0.find(['*', '?']).map_or(&self.0, |at| &self.0[..at])
    }

    /// Whether it matches, case and all.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        // What an earlier `*` swallows grows until the rest fits.
        let (mut p, mut t, mut star) = (0, 0, None);
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(&char) if char == '?' || char == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, swallowed)) => {
                        star = Some((at, swallowed + 1));
                        p = at + 1;
                        t = swallowed + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|char| *char == '*')
    }

    /// Whether it might match a path that is `prefix` or lies below it. Says
    /// yes when in doubt.
    pub(super) fn may_match_below(&self, prefix: &str) -> bool {
        let start = self.literal_start();
        if self.is_literal() {
            return is_within(start, prefix);
        }
        let folder = format!("{prefix}/");
        folder.starts_with(start) || start.starts_with(&folder) || self.matches(prefix)
    }

    /// As a path pattern.
    pub(super) fn shape(&self) -> Shape {
        if self.is_literal() {
            return match is_plain(&self.0) {
                true => Shape::Exact(self.0.clone()),
                false => Shape::Vague,
            };
        }
        if self.0 == "*" {
            return Shape::Below(String::new());
        }
        let start = self.literal_start();
        if self.0.len() != start.len() + 1 || !self.0.ends_with('*') {
            return self.template().map_or(Shape::Vague, Shape::Template);
        }
        match start.strip_suffix('/') {
            Some("") => Shape::Below(String::new()),
            Some(folder) if is_plain(folder) => Shape::Below(folder.into()),
            None if is_plain(start) => Shape::Beginning(start.into()),
            _ => Shape::Vague,
        }
    }

    /// Its segments, if each is a name or `*`.
    fn template(&self) -> Option<Vec<Option<String>>> {
        let segment = |segment: &str| match segment {
            "*" => Some(None),
            "" => None,
            name if config::looks_like_pattern(name) => None,
            name => is_plain(&format!("/{name}")).then(|| Some(name.to_owned())),
        };
        let has_wildcard = |segment: &str| segment.len() > 1 && segment.contains('*');
        let segments = self.0.strip_prefix('/')?.split('/');
        if segments.clone().any(has_wildcard) {
            return None;
        }
        segments.map(segment).collect()
    }

    /// The deepest folder that holds every match of a path pattern; empty for
    /// the root. Where the pattern has spellings that a path is rid of before
    /// it is matched, only the root is safe.
    pub(super) fn folder(&self) -> String {
        let odd = !self.0.bytes().all(|byte| byte.is_ascii_graphic())
            || self.0.contains(['%', '\\', ';', '#'])
            || self.0.contains("//")
            || self.0.split('/').any(|segment| matches!(segment, "." | ".."));
        let folder = self.literal_start().rsplit_once('/').map_or("", |(folder, _)| folder);
        if odd || !is_plain(folder) { String::new() } else { folder.into() }
    }
}

/// Whether `path` is `prefix` or lies below it.
pub(super) fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a route can name this path: every reading leaves it as it is.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%' && byte != b'?')
        && path::is_plain(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let cases = [
            ("/a", "/a", true),
            ("/a", "/A", false),
            ("/a", "/a/", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b/c", true),
            ("/a*", "/abc/d", true),
            ("/*/b", "/x/y/b", true),
            ("/*/b", "/b", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", true),
            ("/a?c", "/ac", false),
            ("*.js", "/x/y.js", true),
            ("*.js", "/x/y.jsx", false),
            ("*", "", true),
            ("/a*b*c", "/a1b2b3c", true),
            ("/a**", "/a", true),
            ("?", "é", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_routes_can_say_of_a_pattern() {
        let shape = |pattern| Glob::new(pattern).shape();
        let folder = |pattern| Glob::new(pattern).folder();
        let template = |path: &str| {
            let any = |segment: &str| (segment != "*").then(|| segment.to_owned());
            Shape::Template(path.split('/').skip(1).map(any).collect())
        };
        let cases = [
            ("/a", Shape::Exact("/a".into()), ""),
            ("/a/b", Shape::Exact("/a/b".into()), "/a"),
            ("/", Shape::Exact("/".into()), ""),
            ("/a/*", Shape::Below("/a".into()), "/a"),
            ("/*", Shape::Below(String::new()), ""),
            ("*", Shape::Below(String::new()), ""),
            ("/a*", Shape::Beginning("/a".into()), ""),
            ("/a/b*", Shape::Beginning("/a/b".into()), "/a"),
            ("/a/*/b", template("/a/*/b"), "/a"),
            ("/*/b", template("/*/b"), ""),
            ("/a/*/b/*", template("/a/*/b/*"), "/a"),
            ("/a/*/b*", Shape::Vague, "/a"),
            ("/a/*/b/", Shape::Vague, "/a"),
            ("/a/*/B;x", Shape::Vague, ""),
            ("/a/*/{x}", Shape::Vague, "/a"),
            ("/a/?", Shape::Vague, "/a"),
            ("*.js", Shape::Vague, ""),
            ("/a%20b", Shape::Vague, ""),
            ("/a/%2e%2e/b", Shape::Vague, ""),
            ("/a/../b", Shape::Vague, ""),
            ("/a/*/../b", Shape::Vague, ""),
            ("/a//b/*", Shape::Vague, ""),
            ("/a;x/*", Shape::Vague, ""),
            ("a/*", Shape::Vague, ""),
        ];
        for (pattern, expected, expected_folder) in cases {
            assert_eq!(shape(pattern), expected, "{pattern}");
            assert_eq!(folder(pattern), expected_folder, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_known_to_miss_a_folder() {
        let cases = [
            ("/old*", "/api", false),
            ("/old*", "/old", true),
            ("/old*", "/older", true),
            ("/old*", "", true),
            ("/api/*", "/api", true),
            ("/api/v?/x", "/api/v1", true),
            ("/api/v?/x", "/apis", false),
            ("*.js", "/api", true),
            ("/a", "/a", true),
            ("/a", "/a/b", false),
            ("/a/b", "/a", true),
            ("/a?", "/ab", true),
        ];
        for (pattern, prefix, expected) in cases {
            assert_eq!(Glob::new(pattern).may_match_below(prefix), expected, "{pattern} {prefix}");
        }
    }

    #[test]
    fn no_match_lies_outside_the_folder() {
        proptest::proptest!(|(pattern in "/[ab*?/]{0,6}", path in "/[ab/]{0,8}")| {
            let glob = Glob::new(&pattern);
            if glob.matches(&path) && !path.contains("//") {
                proptest::prop_assert!(is_within(&path, &glob.folder()), "{pattern} {path}");
                proptest::prop_assert!(glob.may_match_below(&glob.folder()));
                for (at, _) in path.match_indices('/') {
                    proptest::prop_assert!(glob.may_match_below(&path[..at]), "{pattern} {path}");
                }
            }
        });
    }
}
