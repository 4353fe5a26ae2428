//! The tree of routes while it is made.
//!
//! A path may match several templates at once, and routes beside them. The
//! finished tree has one node for each set of places that a path can be at, so
//! that following a path is one look-up for each segment, as without templates.

use std::{collections::BTreeMap, sync::Arc};

use ahash::AHashMap;

use super::node::{NO_ROUTE, Node};
use crate::settings::RouteSettings;

/// The most nodes and branches of a tree. Only templates that overlap in very
/// many ways need more than there are segments in all routes.
const MOST: usize = 1_000_000;

/// What a route says about paths.
#[derive(Clone, Copy, Debug)]
pub(super) enum RoutePath<'r> {
    /// One path.
    Exact(&'r str),
    /// A path and everything below it.
    Prefix(&'r str),
    /// Paths like this; `{name}` stands for any one segment.
    Template(&'r str),
}

/// Routes by segments; a path may be at several places at once.
pub(super) struct Draft(Vec<Place>);

/// One of them.
#[derive(Default)]
struct Place {
    prefix: Vec<usize>,
    exact: Vec<usize>,
    exact_with_slash: Vec<usize>,
    below: BTreeMap<Box<[u8]>, usize>,
    below_any: Option<usize>,
}

/// The places behind a set of places, as sets.
struct Branches {
    below: Vec<(Box<[u8]>, usize)>,
    below_any: Option<usize>,
}

impl<'r> RoutePath<'r> {
    pub(super) fn of(route: &'r RouteSettings) -> Option<Self> {
        let exact = route.path.as_deref().map(Self::Exact);
        let prefix = route.path_prefix.as_deref().map(Self::Prefix);
        exact.or(prefix).or(route.path_template.as_deref().map(Self::Template))
    }

    /// Its segments that have a name.
    pub(super) fn literals(self) -> impl Iterator<Item = &'r str> {
        self.segments().flatten()
    }

    /// Its segments; `None` is any.
    fn segments(self) -> impl Iterator<Item = Option<&'r str>> {
        let is_template = matches!(self, Self::Template(_));
        let name = self.text().strip_suffix('/').unwrap_or(self.text());
        let named = move |segment: &'r str| (!is_template || !is_any(segment)).then_some(segment);
        name.split('/').skip(1).map(named)
    }

    fn text(self) -> &'r str {
        match self {
            Self::Exact(path) | Self::Prefix(path) | Self::Template(path) => path,
        }
    }
}

/// Whether a template's segment stands for any.
pub(super) fn is_any(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

impl Draft {
    pub(super) fn new() -> Self {
        Self(vec![Place::default()])
    }

    /// Adds a route; `read` makes of each name what is compared.
    pub(super) fn insert(
        &mut self,
        path: &RoutePath<'_>,
        position: usize,
        read: impl Fn(&str) -> Vec<u8>,
    ) {
        let mut at = 0;
        for segment in path.segments() {
            let new = self.0.len();
            let next = match segment {
                Some(name) => *self.0[at].below.entry(read(name).into()).or_insert(new),
                None => *self.0[at].below_any.get_or_insert(new),
            };
            if next == new {
                self.0.push(Place::default());
            }
            at = next;
        }
        let place = &mut self.0[at];
        match path {
            RoutePath::Prefix(_) => place.prefix.push(position),
            _ if path.text().ends_with('/') => place.exact_with_slash.push(position),
            _ => place.exact.push(position),
        }
    }

    /// The root of the finished tree; `None` if it would be too large.
    pub(super) fn grow(&self) -> Option<Node> {
        let mut sets = vec![vec![0]];
        let mut known: AHashMap<Vec<usize>, usize> = [(vec![0], 0)].into();
        let mut branches: Vec<Branches> = Vec::new();
        let mut size = 0;
        while let Some(set) = sets.get(branches.len()).cloned() {
            let mut numbered = |mut places: Vec<usize>| {
                places.sort_unstable();
                places.dedup();
                *known.entry(places).or_insert_with_key(|places| {
                    sets.push(places.clone());
                    sets.len() - 1
                })
            };
            let any: Vec<_> = set.iter().filter_map(|at| self.0[*at].below_any).collect();
            let mut names: Vec<_> = set.iter().flat_map(|at| self.0[*at].below.keys()).collect();
            if set.len() > 1 {
                names.sort_unstable();
                names.dedup();
            }
            size += names.len() + 1;
            if size > MOST {
                return None;
            }
            let mut below_name = |name: &[u8]| {
                let named = set.iter().filter_map(|at| self.0[*at].below.get(name));
                numbered(named.chain(&any).copied().collect())
            };
            let below = names.iter().map(|name| ((*name).clone(), below_name(name))).collect();
            let below_any = (!any.is_empty()).then(|| numbered(any));
            branches.push(Branches { below, below_any });
        }
        self.nodes(&sets, branches)
    }

    /// The nodes of these sets; those behind a set have higher numbers, so
    /// they are made first.
    fn nodes(&self, sets: &[Vec<usize>], branches: Vec<Branches>) -> Option<Node> {
        let mut nodes: Vec<Option<Arc<Node>>> = vec![None; sets.len()];
        for (at, (set, branches)) in sets.iter().zip(branches).enumerate().rev() {
            let made = |number: &usize| nodes.get(*number).cloned().flatten();
            let below = branches.below.into_iter();
            let node = Node {
                below: below.filter_map(|(name, number)| Some((name, made(&number)?))).collect(),
                below_any: branches.below_any.as_ref().and_then(made),
                ..self.node(set)
            };
            let first = |node: &Arc<Node>| {
                node.first_of_others.min(node.prefix.first().copied().unwrap_or(NO_ROUTE))
            };
            let behind = node.below.values().chain(&node.below_any).map(first).min();
            let own = node.exact_either.first().copied();
            let first_of_others = behind.into_iter().chain(own).min().unwrap_or(NO_ROUTE);
            let node = Node { first_of_others, ..node };
            if at == 0 {
                return Some(node);
            }
            nodes[at] = Some(Arc::new(node));
        }
        None
    }

    /// The routes of a set of places.
    fn node(&self, set: &[usize]) -> Node {
        let sorted = |list: fn(&Place) -> &Vec<usize>| {
            let mut all: Vec<_> = set.iter().flat_map(|at| list(&self.0[*at])).copied().collect();
            all.sort_unstable();
            all
        };
        let (exact, exact_with_slash) = (sorted(|it| &it.exact), sorted(|it| &it.exact_with_slash));
        let mut exact_either = [&exact[..], &exact_with_slash].concat();
        exact_either.sort_unstable();
        let prefix = sorted(|it| &it.prefix);
        Node { prefix, exact, exact_with_slash, exact_either, ..Node::default() }
    }
}

/// Whether the templates of these routes overlap in more ways than there is
/// room for. An engine with such routes refuses every request as ambiguous.
pub fn templates_overlap_too_much(routes: &[RouteSettings]) -> bool {
    let mut draft = Draft::new();
    for (position, route) in routes.iter().enumerate().filter(|(_, it)| !it.only_by_name) {
        if let Some(path) = RoutePath::of(route) {
            draft.insert(&path, position, |segment| segment.as_bytes().into());
        }
    }
    routes.iter().any(|route| route.path_template.is_some()) && draft.grow().is_none()
}
