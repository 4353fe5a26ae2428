//! Tree to types: unknown keys and values of the wrong type.
//!
//! deserr finds all such errors of a tree. They are then cut out of it, so
//! that the rest has the right types and the checks that follow can report
//! their errors in the same run.

use deserr::{Deserr, ValueKind, deserialize};
use serde_json::{Map, Value};

use super::{
    file::provider,
    homes,
    key_path::{KeyPath, Step},
    problems::{Problem, ProblemKind, Problems},
    report::{Place, Report},
    spelling::{meant, one_of},
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

impl Problem {
    /// Repairs the tree: parses a number or boolean from a string that a
    /// variable went into, or reports the problem and removes its cause.
    fn repair(self, tree: &mut Value, report: &Report) {
        let place = Place::at(report, self.path.clone());
        match self.kind {
            ProblemKind::WrongKind { actual, accepted } => {
                let typed =
                    place.text_of_variable(&actual.0).and_then(|it| typed_as(it, &accepted));
                if typed.is_none() {
                    place.error(wrong_kind::told(&place, &actual.0, &accepted));
                }
                replace(tree, &self.path, typed.unwrap_or_default());
            }
            ProblemKind::WrongNumber { actual, range } => {
                let typed = place.text_of_variable(&actual.0);
                let typed = typed.and_then(|text| typed_as(text, &[ValueKind::Integer]));
                if typed.is_none() {
                    place.error(wrong_kind::told_number(&place, &actual.0, &range));
                }
                replace(tree, &self.path, typed.unwrap_or_default());
            }
            ProblemKind::UnknownKey { key, known } => {
                let homes = homes::of(&key);
                let meant = meant(&key, &known, !homes.is_empty());
                if let Some(meant) = meant {
                    place.key(meant).is_misspelt();
                }
                let advice = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => not_here(&homes, &known, &self.path),
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
fn typed_as(text: &str, accepted: &[ValueKind]) -> Option<Value> {
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
fn not_here(homes: &[String], known: &[String], path: &KeyPath) -> String {
    const FEW: usize = 12;
    if homes.contains(&path.without_positions()) {
        return "it belongs to another `type` of provider; remove it, or write that type".into();
    }
    match (homes, known.len()) {
        ([], ..=FEW) => {
            let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("remove it, or write one of {}", known.join(", "))
        }
        ([], _) => "remove it; docs/config-keys.md lists the keys that there are".into(),
        (homes, _) => {
            let told = |home: &String| match home.is_empty() {
                true => "the top level of the file".into(),
                false => format!("`{home}`"),
            };
            let homes: Vec<_> = homes.iter().take(4).map(told).collect();
            format!("it is a key of {}; move it there, or remove it", homes.join(", "))
        }
    }
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
