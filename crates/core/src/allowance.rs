//! What of a caller's limits depends on the caller alone.

use std::num::NonZeroU32;

use crate::heap;

/// A caller's plan and budget. It is found out once for each caller that is
/// remembered. Two words, so that all of an identity that a check reads is in two
/// cache lines.
#[derive(Clone, Debug)]
pub enum Allowance {
    /// This process counts.
    Counted {
        /// `None` for a caller without a limit.
        plan: Option<PlanAt>,
        /// It names a plan that does not exist.
        is_unknown: bool,
        /// Its budget among the counters.
        key: Key,
    },
    /// A service outside of this process counts.
    Told {
        /// `None` for a caller without a limit.
        plan: Option<PlanAt>,
        /// It names a plan that does not exist.
        is_unknown: bool,
        /// The key for that service.
        key: Box<Box<str>>,
    },
}

const _: () = assert!(size_of::<Allowance>() <= 16);

/// The position of a plan among the plans, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanAt(NonZeroU32);

/// Who is counted, as [`crate::limits::Counters::key`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(crate) u64);

impl Allowance {
    /// The position of its plan; `None` for a caller without a limit.
    pub(crate) fn plan(&self) -> Option<usize> {
        let (Self::Counted { plan, .. } | Self::Told { plan, .. }) = self;
        plan.map(PlanAt::position)
    }

    /// Whether it names a plan that does not exist.
    pub(crate) fn is_unknown(&self) -> bool {
        let (Self::Counted { is_unknown, .. } | Self::Told { is_unknown, .. }) = self;
        *is_unknown
    }

    /// Its budget among the counters, where this process counts.
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Self::Counted { key, .. } => Some(*key),
            Self::Told { .. } => None,
        }
    }

    /// Who the budget belongs to, where a service outside of this process
    /// counts.
    pub(crate) fn told_key(&self) -> Option<&str> {
        match self {
            Self::Counted { .. } => None,
            Self::Told { key, .. } => Some(key),
        }
    }

    /// What it owns.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.told_key()
            .map_or(0, |key| heap::allocation(size_of::<Box<str>>()) + heap::allocation(key.len()))
    }
}

impl PlanAt {
    /// `None` beyond four billion plans.
    pub(crate) fn new(position: usize) -> Option<Self> {
        let number = u32::try_from(position).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    fn position(self) -> usize {
        self.0.get() as usize - 1
    }
}
