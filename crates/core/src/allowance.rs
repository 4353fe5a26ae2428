//! What of a caller's limits depends on the caller alone.

use crate::heap;

/// A caller's plan and budget. It is found out once for each caller that is
/// remembered.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// The position of its plan; `None` for a caller without a limit.
    pub(crate) plan: Option<usize>,
    /// It names a plan that does not exist.
    pub(crate) is_unknown: bool,
    /// Its budget among the counters.
    pub(crate) key: Key,
    /// The key for a service that counts; only where one does.
    pub(crate) told_key: Option<Box<str>>,
}

/// Who is counted, as [`crate::limits::Counters::key`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(crate) u64);

impl Allowance {
    /// Who the budget belongs to, where a service outside of this process
    /// counts.
    pub(crate) fn told_key(&self) -> Option<&str> {
        self.told_key.as_deref()
    }

    /// What it owns.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.told_key.as_ref().map_or(0, |key| heap::allocation(key.len()))
    }
}
