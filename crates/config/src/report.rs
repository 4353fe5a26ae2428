//! Collects errors, and prints places and values in them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use super::{
    errors::{ConfigErrors, Finding},
    key_path::{KeyPath, Step},
    named_file::{NamedFile, NamedFileKind},
    position::Position,
    positions::{Part, Positions},
    yaml::Source,
};

/// What all steps of a load report.
#[derive(Default)]
pub struct Report {
    errors: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
    files: RefCell<Vec<(KeyPath, PathBuf, NamedFileKind)>>,
    /// Places with an error, which are not reported as missing as well.
    erroneous: RefCell<HashSet<KeyPath>>,
    /// Strings that held `${…}`, as the file has them.
    substituted: RefCell<HashMap<KeyPath, String>>,
    /// Strings that hold `$NAME` without braces.
    bare: RefCell<HashMap<KeyPath, BareReference>>,
}

/// A `$NAME` without braces.
#[derive(Clone)]
pub(super) struct BareReference {
    pub(super) name: String,
    /// Whether the string is nothing else.
    pub(super) is_all: bool,
}

/// What was found, before it is known where in the text.
struct Found {
    path: KeyPath,
    part: Part,
    message: String,
}

/// What is left of a report without errors.
pub(super) struct Notes {
    /// The warnings, in the order of the file.
    pub(super) warnings: Vec<Finding>,
    /// The files that are named.
    pub(super) files: Vec<NamedFile>,
}

impl Report {
    /// Whether this place holds a value from the environment.
    pub(super) fn is_substituted(&self, path: &KeyPath) -> bool {
        self.substituted.borrow().contains_key(path)
    }

    /// Warns of strings that are `$NAME`, where that is not an error.
    pub(super) fn warn_of_bare_references(&self) {
        let bare = self.bare.borrow();
        for (path, reference) in bare.iter().filter(|(_, reference)| reference.is_all) {
            let place = Place::at(self, path.clone());
            if !place.has_error() {
                place.warn(braces_missing(&reference.name));
            }
        }
    }

    /// The warnings and the files that are named.
    ///
    /// # Errors
    /// Every error that was reported.
    pub(super) fn finish(self, source: Source<'_>) -> Result<Notes, ConfigErrors> {
        let (errors, warnings) = (self.errors.into_inner(), self.warnings.into_inner());
        let files = self.files.into_inner();
        let positions = match errors.is_empty() && warnings.is_empty() && files.is_empty() {
            true => Positions::default(),
            false => Positions::of(source.text),
        };
        let located = |found: Found| found.located(source.name, &positions);
        let file = |(key, path, kind): (KeyPath, PathBuf, NamedFileKind)| NamedFile {
            config: source.name.into(),
            position: positions.find(&key, Part::Value),
            key: key.to_string(),
            path,
            kind,
        };
        let files = files.into_iter().map(file).collect();
        if !errors.is_empty() {
            return Err(ConfigErrors::new(errors.into_iter().map(located).collect(), files));
        }
        let mut warnings: Vec<_> = warnings.into_iter().map(located).collect();
        warnings.sort_by_key(|warning| warning.position);
        Ok(Notes { warnings, files })
    }
}

/// What to say of a `$NAME` without braces.
fn braces_missing(name: &str) -> String {
    format!(
        "has `${name}` without braces, which is taken as it stands; write `${{{name}}}` for the \
         environment variable, or `$${name}` for the text"
    )
}

impl Found {
    fn located(self, file: &str, positions: &Positions) -> Finding {
        Finding {
            file: file.into(),
            position: positions.find(&self.path, self.part).or(Some(Position::START)),
            place: self.path.to_string(),
            message: self.message,
        }
    }
}

/// A place in the file, with the report that its errors go to.
#[derive(Clone)]
pub struct Place<'r> {
    report: &'r Report,
    path: KeyPath,
}

impl<'r> Place<'r> {
    /// The top of the file.
    pub fn root(report: &'r Report) -> Self {
        Self { report, path: KeyPath::default() }
    }

    /// The place at a path.
    pub(super) fn at(report: &'r Report, path: KeyPath) -> Self {
        Self { report, path }
    }

    /// One key further down.
    pub fn key(&self, key: &str) -> Self {
        Self { report: self.report, path: self.path.key(key) }
    }

    /// One list element further down.
    pub fn index(&self, index: usize) -> Self {
        Self { report: self.report, path: self.path.index(index) }
    }

    /// Reports an error: what is wrong and what to write.
    pub fn error(&self, message: impl fmt::Display) {
        self.report.erroneous.borrow_mut().insert(self.path.clone());
        self.report.errors.borrow_mut().push(self.found(Part::Value, message));
    }

    /// Reports an error of the key itself.
    pub(super) fn wrong_key(&self, message: impl fmt::Display) {
        self.report.erroneous.borrow_mut().insert(self.path.clone());
        self.report.errors.borrow_mut().push(self.found(Part::Key, message));
    }

    fn found(&self, part: Part, message: impl fmt::Display) -> Found {
        Found { path: self.path.clone(), part, message: message.to_string() }
    }

    /// Reports that the value `found` is wrong: `message` goes on after it.
    pub fn wrong(&self, found: &str, message: impl fmt::Display) {
        self.error(format_args!("{} {message}", self.quoted(found)));
    }

    /// Reports that a value is missing, unless an error is reported here already.
    pub fn missing(&self, advice: impl fmt::Display) {
        if !self.has_error() {
            self.error(format_args!("is missing; {advice}"));
        }
    }

    /// Whether an error is reported here; the value was then removed.
    pub(super) fn has_error(&self) -> bool {
        self.report.erroneous.borrow().contains(&self.path)
    }

    /// Whether an error is reported below this place.
    pub fn has_error_below(&self) -> bool {
        let erroneous = self.report.erroneous.borrow();
        let own = self.path.steps();
        erroneous.iter().any(|path| path.steps().len() > own.len() && path.steps().starts_with(own))
    }

    /// Reports what the author may not have intended.
    pub(super) fn warn(&self, sentence: impl fmt::Display) {
        self.report.warnings.borrow_mut().push(self.found(Part::Value, sentence));
    }

    /// Records that the string here was `text` before its variables were
    /// replaced.
    pub(super) fn came_from_environment(&self, text: &str) {
        self.report.substituted.borrow_mut().insert(self.path.clone(), text.into());
    }

    /// The text of `value`, if a variable went into it.
    pub(super) fn text_of_variable<'v>(&self, value: &'v serde_json::Value) -> Option<&'v str> {
        value.as_str().filter(|_| self.report.is_substituted(&self.path))
    }

    /// Records that the string here holds `$NAME`; `is_all` if nothing else.
    pub(super) fn has_bare_reference(&self, name: &str, is_all: bool) {
        let reference = BareReference { name: name.into(), is_all };
        self.report.bare.borrow_mut().insert(self.path.clone(), reference);
    }

    /// Refuses a string that is `$NAME`; whether it was.
    pub(super) fn refuses_bare_reference(&self) -> bool {
        self.refuses_bare(|reference| reference.is_all)
    }

    /// Refuses a string that has `$NAME` somewhere; whether it did.
    pub(super) fn refuses_any_bare_reference(&self) -> bool {
        self.refuses_bare(|_| true)
    }

    fn refuses_bare(&self, is_meant: impl Fn(&BareReference) -> bool) -> bool {
        let found = self.report.bare.borrow().get(&self.path).cloned();
        let found = found.filter(is_meant);
        if let Some(reference) = &found {
            self.error(braces_missing(&reference.name));
        }
        found.is_some()
    }

    /// Records that a key was meant that is misspelt, so that it is not
    /// reported as missing as well.
    pub(super) fn is_misspelt(&self) {
        self.report.erroneous.borrow_mut().insert(self.path.clone());
    }

    /// Whether an API key may stand here, in its place or by mistake.
    pub(super) fn is_secret(&self) -> bool {
        self.path.may_be_secret()
    }

    /// The last key of the path.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.path.last_key()
    }

    /// Records a file that is named here.
    pub(super) fn names_file(&self, path: &Path, kind: NamedFileKind) {
        self.report.files.borrow_mut().push((self.path.clone(), path.into(), kind));
    }

    /// Whether the value here must not be shown, nor anything made from it.
    pub(super) fn is_hidden(&self) -> bool {
        self.path.may_be_secret() || self.report.is_substituted(&self.path)
    }

    /// Whether the value of this key of some list element must not be shown.
    pub(super) fn hides_any(&self, key: &str) -> bool {
        let is_hidden = |path: &KeyPath| match path.steps() {
            [list @ .., Step::Index(_), Step::Key(last)] => {
                list == self.path.steps() && last == key
            }
            _ => false,
        };
        self.report.substituted.borrow().keys().any(is_hidden)
    }

    /// What to write instead, unless that is made from a value that must not be
    /// shown.
    pub(super) fn write_instead(&self, text: &str) -> String {
        match self.is_hidden() {
            true => "write another value".into(),
            false => format!("write `{}`", text.escape_debug()),
        }
    }

    /// A value as it stands in the file, for an error; without it if it is secret.
    pub(super) fn quoted(&self, found: &str) -> String {
        const LONGEST: usize = 120;
        if self.path.may_be_secret() {
            return "the value (not shown)".into();
        }
        if let Some(reference) = self.report.substituted.borrow().get(&self.path) {
            return format!("the value of `{}` (not shown)", reference.escape_debug());
        }
        let start: String = found.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        let cut = if found.chars().nth(LONGEST).is_some() { "…" } else { "" };
        format!("`{start}{cut}`")
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}
