//! What a rule matches: the part that routes can express, and the part that they
//! can only enclose.

use std::collections::BTreeSet;

use super::{
    alb::{Condition, Field, Rule},
    pattern::{Glob, Shape},
    region::{PathSet, Region, leading},
};

/// A rule's conditions.
#[derive(Debug)]
pub(super) struct Matcher {
    /// What routes can express exactly.
    pub(super) exact: Vec<Part>,
    /// What they can't express: requests in these regions may or may not match.
    pub(super) vague: Vec<Fence>,
    /// The conditions that they can't express; one phrase each.
    pub(super) reasons: Vec<String>,
    paths: Vec<Glob>,
}

/// Requests all of which a rule matches.
#[derive(Debug)]
pub(super) struct Part {
    /// The requests.
    pub(super) region: Region,
    /// A path in it that the rule does not match.
    pub(super) hole: Option<String>,
}

/// Requests some of which a rule may match.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    /// The requests.
    pub(super) region: Region,
    /// The path pattern that narrows them further; `None` if there is none.
    pattern: Option<Glob>,
    /// The host patterns that narrow them further.
    hosts: Option<Vec<Glob>>,
}

/// The hosts or methods of a rule. `None` is any.
struct Values {
    /// Those that a route can express.
    expressible: Option<BTreeSet<String>>,
    /// Those that a route can express and that cover all of the rule's.
    fence: Option<BTreeSet<String>>,
    /// Whether a route can't express some of them.
    vague: bool,
    /// The rule's patterns, if it has no regular expression.
    patterns: Option<Vec<Glob>>,
}

/// A rule's conditions other than the path.
struct OtherConditions {
    hosts: Values,
    methods: Values,
    is_expressible: bool,
}

impl OtherConditions {
    /// Whether a route can express all of them.
    fn is_whole(&self) -> bool {
        self.is_expressible && !self.hosts.vague && !self.methods.vague
    }

    /// The requests with these paths, as far as a route can express them.
    fn part(&self, path: PathSet) -> Option<Region> {
        let (hosts, methods) = (&self.hosts.expressible, &self.methods.expressible);
        let is_any =
            |set: &Option<BTreeSet<String>>| set.as_ref().is_none_or(|set| !set.is_empty());
        let can_express = self.is_expressible && is_any(hosts) && is_any(methods);
        can_express.then(|| Region { path, hosts: hosts.clone(), methods: methods.clone() })
    }

    /// A fence around the requests with these paths.
    fn fence(&self, path: PathSet, pattern: Option<Glob>) -> Fence {
        let (hosts, methods) = (self.hosts.fence.clone(), self.methods.fence.clone());
        Fence {
            region: Region { path, hosts, methods },
            pattern,
            hosts: self.hosts.patterns.clone(),
        }
    }
}

impl Matcher {
    /// Reads a rule's conditions.
    pub(super) fn of(rule: &Rule) -> Self {
        let mut reasons = Vec::new();
        let mut rest: Vec<&Condition> = rule.conditions.iter().collect();
        let mut take = |field: Field| {
            let at = rest.iter().position(|condition| condition.field == field)?;
            Some(rest.remove(at))
        };
        let (path, host, method) = (take(Field::Path), take(Field::Host), take(Field::Method));
        let other = OtherConditions {
            hosts: hosts(host, &mut reasons),
            methods: methods(method, &mut reasons),
            // Every condition that is left narrows the rule in a way that no route can.
            is_expressible: rest.is_empty(),
        };
        reasons.extend(rest.iter().map(|condition| condition.text()));
        let mut matcher = Self { exact: Vec::new(), vague: Vec::new(), reasons, paths: Vec::new() };
        match path {
            None => matcher.add_pattern(Glob::new("*"), &other),
            Some(path) => {
                path.values.iter().for_each(|it| matcher.add_pattern(Glob::new(it), &other));
                path.regexes.iter().for_each(|regex| matcher.add_regex(regex, &other));
            }
        }
        matcher.close_holes();
        matcher
    }

    /// Adds a path pattern: what a route can express of it, and a fence around
    /// the rest.
    fn add_pattern(&mut self, glob: Glob, other: &OtherConditions) {
        let (expressible, fence, is_whole) = match glob.shape() {
            Shape::Exact(path) => (Some(PathSet::Exact(path.clone())), PathSet::Exact(path), true),
            Shape::Below(folder) => {
                (Some(PathSet::Under(folder.clone())), PathSet::Under(folder), true)
            }
            Shape::Beginning(path) => {
                (Some(PathSet::Under(path)), PathSet::Under(glob.folder()), false)
            }
            Shape::Template(segments) => {
                (Some(PathSet::Template(segments)), PathSet::Under(glob.folder()), false)
            }
            Shape::Vague => (None, PathSet::Under(glob.folder()), false),
        };
        let region = expressible.and_then(|path| other.part(path));
        if !is_whole {
            let which = match &region {
                Some(Region { path: PathSet::Template(_), .. }) => {
                    " where a `*` is several segments, or none"
                }
                _ => "",
            };
            self.reasons.push(format!("path {}{which}", glob.as_str()));
        }
        if !is_whole || !other.is_whole() {
            self.vague.push(other.fence(fence, Some(glob.clone())));
        }
        if let Some(region) = region {
            let hole = match (&region.path, is_whole) {
                (PathSet::Under(folder), true) if !folder.is_empty() => Some(folder.clone()),
                _ => None,
            };
            self.exact.push(Part { region, hole });
        }
        self.paths.push(glob);
    }

    fn add_regex(&mut self, regex: &str, other: &OtherConditions) {
        self.reasons.push(format!("path regex {regex}"));
        let pattern = regex_start(regex).map(|start| Glob::new(&format!("{start}*")));
        let folder = pattern.as_ref().map(Glob::folder).unwrap_or_default();
        self.vague.push(other.fence(PathSet::Under(folder), pattern));
    }

    /// Drops holes that another pattern of the same rule matches, and parts that
    /// lie in another part.
    fn close_holes(&mut self) {
        for part in &mut self.exact {
            part.hole = part.hole.take().filter(|hole| !self.paths.iter().any(|p| p.matches(hole)));
        }
        let parts = std::mem::take(&mut self.exact);
        for part in parts {
            let is_there =
                |other: &Part| other.hole.is_none() && part.region.is_within(&other.region);
            if !self.exact.iter().any(is_there) {
                self.exact
                    .retain(|other| part.hole.is_some() || !other.region.is_within(&part.region));
                self.exact.push(part);
            }
        }
    }
}

impl Part {
    /// Whether all of these requests are among those of this part.
    pub(super) fn has_within(&self, region: &Region) -> bool {
        let is_in_it = |hole: &String| {
            let point = PathSet::Exact(hole.clone());
            Region { path: point, hosts: None, methods: None }.and(region).is_some()
        };
        region.is_within(&self.region) && !self.hole.as_ref().is_some_and(is_in_it)
    }
}

impl Fence {
    /// Whether the rule may match a request in this region.
    pub(super) fn may_match_in(&self, region: &Region) -> bool {
        let Some(common) = self.region.and(region) else { return false };
        if let (Some(patterns), Some(hosts)) = (&self.hosts, &common.hosts) {
            let is_met = |host: &String| {
                host.starts_with('*') || patterns.iter().any(|pattern| pattern.matches(host))
            };
            if !hosts.iter().any(is_met) {
                return false;
            }
        }
        match (&self.pattern, &common.path) {
            (None, _) => true,
            (Some(pattern), PathSet::Exact(path)) => pattern.matches(path),
            (Some(pattern), PathSet::Under(folder)) => pattern.may_match_below(folder),
            (Some(pattern), PathSet::Template(segments)) => {
                pattern.may_match_below(&leading(segments))
            }
        }
    }
}

fn hosts(condition: Option<&Condition>, reasons: &mut Vec<String>) -> Values {
    let mut expressible = BTreeSet::new();
    let mut fence = Some(BTreeSet::new());
    let mut vague = false;
    let Some(condition) = condition.filter(|condition| {
        !condition.regexes.is_empty() || !condition.values.iter().any(|value| value == "*")
    }) else {
        return Values { expressible: None, fence: None, vague, patterns: None };
    };
    for value in &condition.values {
        let host = value.to_ascii_lowercase();
        let is_expressible = is_host(host.strip_prefix("*.").unwrap_or(&host));
        let fenced = if is_expressible { Some(host.clone()) } else { domain_of(&host) };
        match (&mut fence, fenced) {
            (Some(fence), Some(host)) => drop(fence.insert(host)),
            _ => fence = None,
        }
        if is_expressible {
            expressible.insert(host);
        } else {
            vague = true;
            reasons.push(format!("host {value}"));
        }
    }
    for regex in &condition.regexes {
        (vague, fence) = (true, None);
        reasons.push(format!("host regex {regex}"));
    }
    let patterns = condition.values.iter().map(|value| Glob::new(&value.to_ascii_lowercase()));
    let patterns = condition.regexes.is_empty().then(|| patterns.collect());
    Values { expressible: Some(expressible), fence, vague, patterns }
}

/// The literal start of every match of a path's regular expression, if it has
/// one.
fn regex_start(regex: &str) -> Option<String> {
    let body =
        regex.strip_prefix('^').filter(|body| !body.contains('|') && !body.contains("(?"))?;
    let is_literal = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '/' | '-' | '_');
    let mut start: String = body.chars().take_while(is_literal).collect();
    // A quantifier may take the last character back.
    if body[start.len()..].starts_with(['*', '?', '{']) {
        start.pop();
    }
    Some(start)
}

/// The wildcard host that every match of a host pattern lies below.
fn domain_of(pattern: &str) -> Option<String> {
    let (_, tail) = pattern.rsplit_once(['*', '?'])?;
    let (_, domain) = tail.split_once('.')?;
    is_host(domain).then(|| format!("*.{domain}"))
}

fn is_host(name: &str) -> bool {
    let label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.split('.').all(|label| !label.is_empty() && label.bytes().all(label_byte))
}

/// ALB compares methods as they are written; a route's are upper case.
fn methods(condition: Option<&Condition>, reasons: &mut Vec<String>) -> Values {
    let Some(condition) = condition else {
        return Values { expressible: None, fence: None, vague: false, patterns: None };
    };
    let is_expressible = |method: &&String| {
        method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
    };
    let (expressible, others): (BTreeSet<_>, Vec<_>) = (
        condition.values.iter().filter(is_expressible).cloned().collect(),
        condition.values.iter().filter(|method| !is_expressible(method)).collect(),
    );
    reasons.extend(others.iter().map(|method| format!("method {method}")));
    reasons.extend(condition.regexes.iter().map(|regex| format!("method regex {regex}")));
    let vague = !others.is_empty() || !condition.regexes.is_empty() || expressible.is_empty();
    let fence = (!vague).then(|| expressible.clone());
    Values { expressible: Some(expressible), fence, vague, patterns: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(field: Field, values: &[&str]) -> Condition {
        let values = values.iter().map(ToString::to_string).collect();
        Condition { field, values, regexes: Vec::new() }
    }

    fn matcher(conditions: Vec<Condition>) -> Matcher {
        let (actions, transforms) = (Vec::new(), Vec::new());
        Matcher::of(&Rule { priority: Some(1), conditions, actions, transforms })
    }

    #[test]
    fn a_condition_is_expressible_or_a_reason() {
        let header = Field::Header("X-A".into());
        let cases = [
            (vec![], 1, 0, ""),
            (vec![condition(Field::Path, &["/a", "/a/*"])], 1, 0, ""),
            (vec![condition(Field::Path, &["/a", "/b"])], 2, 0, ""),
            (vec![condition(Field::Path, &["/a*"])], 1, 1, "path /a*"),
            (vec![condition(Field::Path, &["/a/*/b"])], 1, 1, "path /a/*/b"),
            (vec![condition(Field::Path, &["/a/*/b*"])], 0, 1, "path /a/*/b*"),
            (vec![condition(Field::Host, &["A.example.com", "*.b.example.com"])], 1, 0, ""),
            (vec![condition(Field::Host, &["*"])], 1, 0, ""),
            (vec![condition(Field::Host, &["a.example.com", "b?.example.com"])], 1, 1, "host b?"),
            (vec![condition(Field::Host, &["a*"])], 0, 1, "host a*"),
            (vec![condition(Field::Method, &["GET", "PURGE"])], 1, 0, ""),
            (vec![condition(Field::Method, &["get"])], 0, 1, "method get"),
            (vec![condition(header, &[])], 0, 1, "the header X-A"),
            (vec![condition(Field::SourceIp, &["10.0.0.0/8"])], 0, 1, "client address 10"),
            (
                vec![condition(Field::Path, &["/a"]), condition(Field::Path, &["/b"])],
                0,
                1,
                "path /b",
            ),
        ];
        for (conditions, exact, vague, reason) in cases {
            let matcher = matcher(conditions.clone());
            assert_eq!(matcher.exact.len(), exact, "{conditions:?}");
            assert_eq!(matcher.vague.len(), vague, "{conditions:?}");
            let reasons = matcher.reasons.join("; ");
            assert!(
                reasons.contains(reason) && reasons.is_empty() == reason.is_empty(),
                "{reasons}"
            );
        }
    }

    #[test]
    fn the_start_of_a_regex() {
        let cases = [
            ("^/v[0-9]+/raw$", Some("/v")),
            ("^/api/v1", Some("/api/v1")),
            ("^/ab*", Some("/a")),
            ("^/ab{0,2}", Some("/a")),
            ("^/ab+", Some("/ab")),
            ("^/a|/b", None),
            ("^(?i)/a", None),
            ("/a", None),
            ("^.*", Some("")),
            ("^/a.b", Some("/a")),
            ("^\\/a", Some("")),
        ];
        for (regex, expected) in cases {
            assert_eq!(regex_start(regex).as_deref(), expected, "{regex}");
        }
    }
}
