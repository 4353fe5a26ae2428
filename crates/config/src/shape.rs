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
    file::provider,
    homes,
    report::{KeyPath, Place, Report, Step},
    wiped::{self, Wiped},
};

mod wrong_kind;

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
    WrongKind {
        actual: Wiped,
        accepted: Vec<ValueKind>,
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
    /// A provider's type that is none; the provider is read as the type that
    /// was meant, so that its other errors are found too.
    pub(super) fn unknown_type(
        word: String,
        meant: Option<&'static str>,
        location: ValuePointerRef,
    ) -> Self {
        let kind = ProblemKind::UnknownType { word, meant };
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
                    place.error(wrong_kind::told(&place, &actual.0, &accepted));
                }
                replace(tree, &self.path, typed.unwrap_or_default());
            }
            ProblemKind::UnknownKey { key, known } => {
                let meant = meant(&key, &known);
                if let Some(meant) = meant {
                    place.key(meant).is_misspelt();
                }
                let advice = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => not_here(&key, &known, &self.path),
                };
                place.key(&key).wrong_key(format_args!("unknown key; {advice}"));
                if let Some(Value::Object(map)) = find(tree, &self.path) {
                    map.shift_remove(&key).as_mut().map(wiped::wipe);
                }
            }
            ProblemKind::UnknownType { word, meant } => {
                let known = provider::TYPES.map(|kind| format!("`{kind}`")).join(", ");
                let guess = meant.filter(|_| !place.is_hidden());
                let guess = guess.map(|meant| format!("; did you mean `{meant}`?"));
                let guess = guess.unwrap_or_default();
                place.wrong(&word, format_args!("is not known; write one of {known}{guess}"));
                replace(tree, &self.path, meant.map_or(Value::Null, Value::from));
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

/// A variable's value where the file needs another type than a string. Booleans
/// may be spelt as programs in other languages print them, and as YAML 1.1 has
/// them.
fn typed(text: &str, accepted: &[ValueKind]) -> Option<Value> {
    let text = text.trim();
    accepted.iter().find_map(|kind| match kind {
        ValueKind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true.into()),
            "false" | "no" | "off" => Some(false.into()),
            _ => None,
        },
        ValueKind::Integer => text.parse::<u64>().ok().map(Value::from),
        ValueKind::Float => text.parse::<f64>().ok().map(Value::from),
        _ => None,
    })
}

/// What to do about a key that is known nowhere near.
fn not_here(key: &str, known: &[String], path: &KeyPath) -> String {
    const FEW: usize = 12;
    let homes = homes::of(key);
    if homes.contains(&path.without_positions()) {
        return "it belongs to another `type` of provider; remove it, or write that type".into();
    }
    match (homes.as_slice(), known.len()) {
        ([], ..=FEW) => {
            let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("remove it, or write one of {}", known.join(", "))
        }
        ([], _) => "remove it; docs/config-keys.md lists the keys that there are".into(),
        (homes, _) => {
            let homes: Vec<_> = homes.iter().take(4).map(|home| format!("`{home}`")).collect();
            format!("it is a key of {}; move it there, or remove it", homes.join(", "))
        }
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

/// The known key that was meant by one that is not known: one that is a few
/// typos away, or that is longer or shorter by whole words.
fn meant<'k>(key: &str, known: &'k [String]) -> Option<&'k str> {
    let typo = known.iter().filter(|candidate| is_meant(key, candidate));
    let typo = typo.min_by_key(|candidate| distance(key, candidate));
    let by_words = || known.iter().find(|candidate| shares_words(key, candidate));
    typo.or_else(by_words).map(String::as_str)
}

/// Whether one word is the other with a few typos, or its beginning.
pub(super) fn is_meant(word: &str, known: &str) -> bool {
    const SHORTEST: usize = 3;
    let is_start = word.len() >= SHORTEST && known.starts_with(word);
    is_start || distance(word, known) <= (known.len() / 3).max(1)
}

/// Whether the words of one are among those of the other, as in `clock_skew`
/// and `clock_skew_seconds`.
fn shares_words(key: &str, known: &str) -> bool {
    let words = |text: &str| {
        let mut words: Vec<String> = vec![String::new()];
        let mut before = ' ';
        for char in text.chars() {
            let is_new = !char.is_alphanumeric() || char.is_uppercase() && before.is_lowercase();
            if is_new && words.last().is_some_and(|word| !word.is_empty()) {
                words.push(String::new());
            }
            if char.is_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.extend(char.to_lowercase());
            }
            before = char;
        }
        words
    };
    let (key, known) = (words(key), words(known));
    let among = |few: &[String], many: &[String]| few.iter().all(|word| many.contains(word));
    key.iter().all(|word| word.len() > 2) && (among(&key, &known) || among(&known, &key))
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
