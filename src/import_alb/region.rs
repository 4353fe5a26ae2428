//! Sets of requests that a route's `match` can express.

use std::collections::BTreeSet;

use super::pattern::is_within;

/// Requests with one of these paths, hosts and methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// Their paths.
    pub(super) path: PathSet,
    /// Their hosts, in lower case, `*.` in front for all below; `None` is any.
    pub(super) hosts: Option<BTreeSet<String>>,
    /// Their methods; `None` is any.
    pub(super) methods: Option<BTreeSet<String>>,
}

/// Paths that a route can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathSet {
    /// One path.
    Exact(String),
    /// A path and all below it; the empty one is the root.
    Under(String),
    /// Paths of these segments; `None` is any that is not empty.
    Template(Vec<Option<String>>),
}

impl Region {
    /// Every request.
    pub(super) fn everything() -> Self {
        Self { path: PathSet::Under(String::new()), hosts: None, methods: None }
    }

    /// Every `HEAD` request.
    pub(super) fn heads() -> Self {
        Self { methods: Some(BTreeSet::from(["HEAD".into()])), ..Self::everything() }
    }

    /// Whether a route for these would match `HEAD` beside them: its `GET`
    /// covers `HEAD`.
    pub(super) fn has_get_without_head(&self) -> bool {
        let methods = self.methods.as_ref();
        methods.is_some_and(|methods| methods.contains("GET") && !methods.contains("HEAD"))
    }

    /// The requests in both; `None` if there are none.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        Some(Self {
            path: self.path.and(&other.path)?,
            hosts: both(self.hosts.as_ref(), other.hosts.as_ref(), |left, right| {
                let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
                pairs.filter_map(|(a, b)| host_and(a, b)).cloned().collect()
            })?,
            methods: both(self.methods.as_ref(), other.methods.as_ref(), |left, right| {
                left.intersection(right).cloned().collect()
            })?,
        })
    }

    /// Whether all of these are among the others.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let hosts = match (&self.hosts, &other.hosts) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(others)) => {
                own.iter().all(|host| others.iter().any(|other| host_covers(other, host)))
            }
        };
        let methods = match (&self.methods, &other.methods) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(others)) => own.is_subset(others),
        };
        hosts && methods && self.path.is_within(&other.path)
    }
}

impl PathSet {
    fn and(&self, other: &Self) -> Option<Self> {
        if self.is_within(other) {
            return Some(self.clone());
        }
        if other.is_within(self) {
            return Some(other.clone());
        }
        match (self, other) {
            (Self::Template(segments), Self::Template(others)) => {
                (segments.len() == others.len()).then(|| joined(segments, others)).flatten()
            }
            (Self::Template(segments), Self::Under(folder))
            | (Self::Under(folder), Self::Template(segments)) => {
                let folder: Vec<_> = folder.split('/').skip(1).map(|it| Some(it.into())).collect();
                (folder.len() <= segments.len()).then(|| joined(segments, &folder)).flatten()
            }
            _ => None,
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(path), Self::Exact(other)) => path == other,
            (Self::Exact(path) | Self::Under(path), Self::Under(other)) => is_within(path, other),
            (Self::Template(segments), Self::Under(folder)) => {
                is_within(&leading(segments), folder)
            }
            (Self::Template(segments), Self::Template(others)) => {
                segments.len() == others.len()
                    && segments
                        .iter()
                        .zip(others)
                        .all(|(own, other)| other.is_none() || own == other)
            }
            (Self::Exact(path), Self::Template(segments)) => {
                let names: Vec<_> = path.split('/').skip(1).collect();
                let fits = |(name, wanted): (&&str, &Option<String>)| match wanted {
                    Some(wanted) => wanted == name,
                    None => !name.is_empty(),
                };
                names.len() == segments.len() && names.iter().zip(segments).all(fits)
            }
            (Self::Under(_), Self::Exact(_) | Self::Template(_))
            | (Self::Template(_), Self::Exact(_)) => false,
        }
    }

    /// As `path_template` has it.
    pub(super) fn template(segments: &[Option<String>]) -> String {
        let mut any = 0;
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            match segment {
                Some(name) => text.push_str(name),
                None => {
                    any += 1;
                    text.push_str(&format!("{{any{any}}}"));
                }
            }
        }
        text
    }
}

/// The folder that holds all paths of a template.
pub(super) fn leading(segments: &[Option<String>]) -> String {
    let names = segments.iter().map_while(|segment| segment.as_ref());
    names.map(|name| format!("/{name}")).collect()
}

/// The paths of a template that have these segments, too.
fn joined(segments: &[Option<String>], others: &[Option<String>]) -> Option<PathSet> {
    let mut joined = segments.to_vec();
    for (own, other) in joined.iter_mut().zip(others) {
        match (&*own, other) {
            (Some(own), Some(other)) if own != other => return None,
            (None, Some(other)) => *own = Some(other.clone()),
            _ => {}
        }
    }
    match joined.iter().all(Option::is_some) {
        true => Some(PathSet::Exact(leading(&joined))),
        false => Some(PathSet::Template(joined)),
    }
}

/// What two lists have in common, `None` standing for everything; no result
/// if that is nothing.
fn both(
    left: Option<&BTreeSet<String>>,
    right: Option<&BTreeSet<String>>,
    and: impl Fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>,
) -> Option<Option<BTreeSet<String>>> {
    match (left, right) {
        (Some(left), Some(right)) => {
            let common = and(left, right);
            (!common.is_empty()).then_some(Some(common))
        }
        (left, right) => Some(left.or(right).cloned()),
    }
}

fn host_and<'h>(a: &'h String, b: &'h String) -> Option<&'h String> {
    if host_covers(a, b) { Some(b) } else { host_covers(b, a).then_some(a) }
}

/// Whether one host pattern stands for all that the other does.
fn host_covers(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix('*') {
        Some(suffix) => {
            wide == narrow
                || narrow.trim_start_matches('*').len() > suffix.len() && narrow.ends_with(suffix)
        }
        None => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(path: PathSet, hosts: &[&str], methods: &[&str]) -> Region {
        let set = |list: &[&str]| {
            (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect())
        };
        Region { path, hosts: set(hosts), methods: set(methods) }
    }

    fn exact(path: &str) -> PathSet {
        PathSet::Exact(path.into())
    }

    fn template(path: &str) -> PathSet {
        let any = |segment: &str| (segment != "*").then(|| segment.to_owned());
        PathSet::Template(path.split('/').skip(1).map(any).collect())
    }

    fn under(path: &str) -> PathSet {
        PathSet::Under(path.into())
    }

    #[test]
    fn regions_meet_and_contain_each_other() {
        let any = Region::everything();
        let api = region(under("/api"), &[], &[]);
        let cases = [
            (any.clone(), api.clone(), Some(api.clone())),
            (api.clone(), region(exact("/api"), &[], &[]), Some(region(exact("/api"), &[], &[]))),
            (api.clone(), region(exact("/apis"), &[], &[]), None),
            (api.clone(), region(under("/apis"), &[], &[]), None),
            (
                region(under("/api"), &["*.example.com"], &["GET", "POST"]),
                region(under(""), &["a.example.com", "b.example.org"], &["GET"]),
                Some(region(under("/api"), &["a.example.com"], &["GET"])),
            ),
            (
                region(under(""), &["*.example.com"], &[]),
                region(under(""), &["*.b.example.com"], &[]),
                Some(region(under(""), &["*.b.example.com"], &[])),
            ),
            (
                region(under(""), &["*.example.com"], &[]),
                region(under(""), &["example.com"], &[]),
                None,
            ),
            (region(under(""), &[], &["GET"]), region(under(""), &[], &["PUT"]), None),
            (
                region(template("/a/*/c"), &[], &[]),
                region(under("/a"), &[], &[]),
                Some(region(template("/a/*/c"), &[], &[])),
            ),
            (
                region(template("/a/*/c"), &[], &[]),
                region(under("/a/b"), &[], &[]),
                Some(region(exact("/a/b/c"), &[], &[])),
            ),
            (
                region(template("/a/*/*"), &[], &[]),
                region(under("/a/b"), &[], &[]),
                Some(region(template("/a/b/*"), &[], &[])),
            ),
            (
                region(template("/a/*/*"), &[], &[]),
                region(template("/*/*/c"), &[], &[]),
                Some(region(template("/a/*/c"), &[], &[])),
            ),
            (
                region(template("/a/*"), &[], &[]),
                region(exact("/a/b"), &[], &[]),
                Some(region(exact("/a/b"), &[], &[])),
            ),
            (region(template("/a/*"), &[], &[]), region(exact("/a/"), &[], &[]), None),
            (region(template("/a/*"), &[], &[]), region(under("/a/b/c"), &[], &[]), None),
            (region(template("/a/*"), &[], &[]), region(template("/b/*"), &[], &[]), None),
        ];
        for (left, right, expected) in cases {
            assert_eq!(left.and(&right), expected, "{left:?} {right:?}");
            assert_eq!(right.and(&left), expected, "{right:?} {left:?}");
            assert!(left.is_within(&any) && left.is_within(&left));
            if let Some(both) = expected {
                assert!(both.is_within(&left) && both.is_within(&right));
            }
        }
        assert!(!any.is_within(&api));
    }
}
