//! Tree to types: unknown keys and values of the wrong type.
//!
//! deserr finds all such errors of a tree. They are then cut out of it, so
//! that the rest has the right types and the checks that follow can report
//! their errors in the same run.

use std::ops::ControlFlow;

use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef,
    deserialize,
};
use serde_json::{Map, Value};

use super::{
    report::{KeyPath, Place, Report, Step},
    wiped::{self, Wiped},
};

/// Reads the blocks; values of a wrong type are reported and left out.
pub(super) fn read<T>(tree: Map<String, Value>, report: &Report) -> T
where
    T: Deserr<Problems> + Default,
{
    let mut tree = Wiped::new(tree);
    loop {
        match deserialize::<T, _, Problems>(tree.0.clone()) {
            Ok(file) => return file,
            Err(Problems(problems)) => {
                let before = tree.clone();
                for problem in problems {
                    problem.repair(&mut tree.0, report);
                }
                if tree == before {
                    return T::default();
                }
            }
        }
    }
}

/// The errors that deserr found in a tree.
pub struct Problems(Vec<Problem>);

pub(super) struct Problem {
    path: KeyPath,
    kind: ProblemKind,
}

enum ProblemKind {
    WrongKind { actual: Wiped, accepted: Vec<ValueKind> },
    UnknownKey { key: String, known: Vec<String> },
    UnknownValue { value: String, known: Vec<String> },
    Other(String),
}

impl Problems {
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

impl Problem {
    /// Repairs the tree: parses a number or boolean from a string that a
    /// variable went into, or reports the problem and removes its cause.
    fn repair(self, tree: &mut Value, report: &Report) {
        let place = Place::at(report, self.path.clone());
        match self.kind {
            ProblemKind::WrongKind { actual, accepted } => {
                let substituted = report.is_substituted(&self.path);
                let text = actual.0.as_str().filter(|_| substituted);
                let typed = text.and_then(|text| typed(text, &accepted));
                if typed.is_none() {
                    place.error(wrong_kind(&place, &actual.0, &accepted));
                }
                replace(tree, &self.path, typed.unwrap_or_default());
            }
            ProblemKind::UnknownKey { key, known } => {
                let advice = match nearest(&key, &known) {
                    Some(near) if is_near(&key, near) => format!("did you mean `{near}`?"),
                    Some(near) => format!("remove it; the nearest known key is `{near}`"),
                    None => "remove it".into(),
                };
                place.key(&key).wrong_key(format_args!("unknown key; {advice}"));
                if let Some(Value::Object(map)) = find(tree, &self.path) {
                    map.shift_remove(&key).as_mut().map(wiped::wipe);
                }
            }
            ProblemKind::UnknownValue { value, known } => {
                place.wrong(&value, format_args!("is not known; {}", one_of(&value, &known)));
                replace(tree, &self.path, Value::Null);
            }
            ProblemKind::Other(message) => {
                place.error(message);
                replace(tree, &self.path, Value::Null);
            }
        }
    }
}

/// A variable's value where the file needs another type than a string.
fn typed(text: &str, accepted: &[ValueKind]) -> Option<Value> {
    accepted.iter().find_map(|kind| match kind {
        ValueKind::Boolean => text.parse::<bool>().ok().map(Value::from),
        ValueKind::Integer => text.parse::<u64>().ok().map(Value::from),
        ValueKind::Float => text.parse::<f64>().ok().map(Value::from),
        _ => None,
    })
}

fn wrong_kind(place: &Place, actual: &Value, accepted: &[ValueKind]) -> String {
    let found = match actual {
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::String(text) => place.quoted(text),
        Value::Bool(_) | Value::Number(_) => place.quoted(&actual.to_string()),
    };
    let kinds: Vec<_> = accepted.iter().map(|kind| kind_name(*kind)).collect();
    let unquoted = matches!(actual, Value::Bool(_) | Value::Number(_))
        && accepted.contains(&ValueKind::String);
    let advice = if unquoted { "; put it in quotes" } else { "" };
    format!("must be {}, not {found}{advice}", kinds.join(" or "))
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "`true` or `false`",
        ValueKind::Integer => "a whole number from 0 up",
        ValueKind::NegativeInteger => "a negative number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    }
}

/// What to write instead of a word outside a closed list.
pub fn one_of(value: &str, known: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = known.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    let guess = nearest(value, known).filter(|near| is_near(value, near));
    let guess = guess.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("write one of {}{guess}", words.join(", "))
}

/// The known word that is the fewest typos away; case and dashes do not count.
fn nearest<'k>(word: &str, known: &'k [impl AsRef<str>]) -> Option<&'k str> {
    known.iter().map(AsRef::as_ref).min_by_key(|candidate| distance(word, candidate))
}

fn is_near(word: &str, known: &str) -> bool {
    distance(word, known) <= known.len() / 2
}

fn distance(left: &str, right: &str) -> usize {
    let plain = |word: &str| {
        word.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    strsim::damerau_levenshtein(&plain(left), &plain(right))
}

fn find<'t>(tree: &'t mut Value, path: &KeyPath) -> Option<&'t mut Value> {
    path.steps().iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn replace(tree: &mut Value, path: &KeyPath, value: Value) {
    if let Some(found) = find(tree, path) {
        wiped::wipe(found);
        *found = value;
    }
}
