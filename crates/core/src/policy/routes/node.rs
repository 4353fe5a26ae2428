//! The nodes of the finished tree.

use std::sync::Arc;

use ahash::AHashMap;

/// The routes at one point of the path, and the segments below it. Lists hold
/// positions in ascending order, so the first that fits is the first of all.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) prefix: Vec<usize>,
    pub(super) exact: Vec<usize>,
    /// Those whose path has a slash at its end.
    pub(super) exact_with_slash: Vec<usize>,
    /// Both, for readings that cut that slash.
    pub(super) exact_either: Vec<usize>,
    /// By their names, where a template's `{name}` goes on too.
    pub(super) below: AHashMap<Box<[u8]>, Arc<Node>>,
    /// Behind any other name, if a template goes on there.
    pub(super) below_any: Option<Arc<Node>>,
    /// The first of all routes here, prefixes aside, and below.
    pub(super) first_of_others: usize,
}

/// What stands for no route among positions: it comes after all.
pub(super) const NO_ROUTE: usize = usize::MAX;

impl Default for Node {
    fn default() -> Self {
        Self {
            prefix: Vec::new(),
            exact: Vec::new(),
            exact_with_slash: Vec::new(),
            exact_either: Vec::new(),
            below: AHashMap::new(),
            below_any: None,
            first_of_others: NO_ROUTE,
        }
    }
}
