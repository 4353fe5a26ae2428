//! The errors that deserr finds in a tree, before anything is said of them.

use std::ops::{ControlFlow, RangeInclusive};

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef};

use super::{key_path::KeyPath, wiped::Wiped};

/// The errors that deserr found in a tree.
pub struct Problems(pub(super) Vec<Problem>);

/// What is wrong at one place of the tree.
pub(super) struct Problem {
    pub(super) path: KeyPath,
    pub(super) kind: ProblemKind,
}

pub(super) enum ProblemKind {
    WrongKind {
        actual: Wiped,
        accepted: Vec<ValueKind>,
    },
    /// No whole number in the range.
    WrongNumber {
        actual: Wiped,
        range: RangeInclusive<u64>,
    },
    UnknownKey {
        key: String,
        known: Vec<String>,
    },
    UnknownValue {
        value: String,
        known: Vec<String>,
    },
    /// A provider's type, and the one that was meant.
    UnknownType {
        word: String,
        meant: Option<&'static str>,
    },
    Other(String),
}

impl Problems {
    /// A provider's type that is not one; the provider is read as the type that
    /// was meant, so that its other errors are found too.
    pub(super) fn unknown_type(
        word: String,
        meant: Option<&'static str>,
        location: ValuePointerRef,
    ) -> Self {
        let kind = ProblemKind::UnknownType { word, meant };
        Self(vec![Problem { path: key_path(location), kind }])
    }

    /// A value that is not a whole number in the range.
    pub(super) fn wrong_number(
        actual: serde_json::Value,
        range: RangeInclusive<u64>,
        location: ValuePointerRef,
    ) -> Self {
        let kind = ProblemKind::WrongNumber { actual: Wiped(actual), range };
        Self(vec![Problem { path: key_path(location), kind }])
    }

    /// Adds keys that are known at `location` besides those of its type.
    pub(super) fn with_known_keys(mut self, location: ValuePointerRef, keys: &[&str]) -> Self {
        let path = key_path(location);
        for problem in self.0.iter_mut().filter(|problem| problem.path == path) {
            if let ProblemKind::UnknownKey { known, .. } = &mut problem.kind {
                known.splice(0..0, keys.iter().copied().map(String::from));
            }
        }
        self
    }
}

impl MergeWithError<Problems> for Problems {
    fn merge(
        earlier: Option<Self>,
        other: Problems,
        _: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let mut all = earlier.unwrap_or(Self(Vec::new()));
        all.0.extend(other.0);
        ControlFlow::Continue(all)
    }
}

impl DeserializeError for Problems {
    fn error<V: IntoValue>(
        earlier: Option<Self>,
        error: ErrorKind<V>,
        location: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let owned = |words: &[&str]| words.iter().copied().map(String::from).collect();
        let kind = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                let actual = Wiped(actual.into());
                ProblemKind::WrongKind { actual, accepted: accepted.to_vec() }
            }
            ErrorKind::UnknownKey { key, accepted } => {
                ProblemKind::UnknownKey { key: key.into(), known: owned(accepted) }
            }
            ErrorKind::UnknownValue { value, accepted } => {
                ProblemKind::UnknownValue { value: value.into(), known: owned(accepted) }
            }
            ErrorKind::MissingField { field } => {
                ProblemKind::Other(format!("lacks the key `{field}`"))
            }
            ErrorKind::BadSequenceLen { expected, .. } => {
                ProblemKind::Other(format!("must have {expected} elements"))
            }
            ErrorKind::Unexpected { msg } => ProblemKind::Other(msg),
        };
        let problem = Problem { path: key_path(location), kind };
        Self::merge(earlier, Self(vec![problem]), location)
    }
}

fn key_path(location: ValuePointerRef) -> KeyPath {
    match location {
        ValuePointerRef::Origin => KeyPath::default(),
        ValuePointerRef::Key { key, prev } => key_path(*prev).key(key),
        ValuePointerRef::Index { index, prev } => key_path(*prev).index(index),
    }
}
