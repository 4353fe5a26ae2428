//! Collects errors, and prints places and values in them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
};

use super::{
    errors::{ConfigError, ConfigErrors},
    named_file::{NamedFile, NamedFileKind},
};

/// What all steps of a load report.
#[derive(Default)]
pub struct Report {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
    files: RefCell<Vec<NamedFile>>,
    /// Places with an error, which are not reported as missing as well.
    erroneous: RefCell<HashSet<KeyPath>>,
    /// Strings that held `${…}`, as the file has them.
    substituted: RefCell<HashMap<KeyPath, String>>,
}

impl Report {
    /// Adds a warning.
    pub(super) fn warn(&self, sentence: String) {
        self.warnings.borrow_mut().push(sentence);
    }

    /// Whether this place holds a value from the environment.
    pub(super) fn is_substituted(&self, path: &KeyPath) -> bool {
        self.substituted.borrow().contains_key(path)
    }

    /// Fails if anything is wrong.
    ///
    /// # Errors
    /// Every error that was reported.
    pub fn into_result(self) -> Result<(), ConfigErrors> {
        ConfigErrors::check(self.errors.into_inner().into_iter())
    }

    /// The warnings and the files that are named, if there is no error.
    pub(super) fn finish(self) -> Result<(Vec<String>, Vec<NamedFile>), ConfigErrors> {
        let errors = self.errors.into_inner();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok((self.warnings.into_inner(), self.files.into_inner()))
    }
}

/// A key path: where in the file something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(Vec<Step>);

/// One step of a key path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// The steps from the top of the file.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// One key further down.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One list element further down.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Whether an API key may stand here, in its place or by mistake.
    fn may_be_secret(&self) -> bool {
        let last_key = self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        matches!(last_key, Some("key" | "key_hash" | "keys" | "api_keys" | "token"))
    }
}

/// `auth.providers[0].required_claims["kubernetes.io"]`.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || !key.bytes().all(plain) => {
                    write!(f, "[\"{}\"]", key.escape_debug())?;
                }
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
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
        let error = ConfigError { place: self.path.to_string(), message: message.to_string() };
        self.report.erroneous.borrow_mut().insert(self.path.clone());
        self.report.errors.borrow_mut().push(error);
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
        erroneous
            .iter()
            .any(|path| path.0.len() > self.path.0.len() && path.0.starts_with(&self.path.0))
    }

    /// Reports what the author may not have intended.
    pub(super) fn warn(&self, sentence: impl fmt::Display) {
        self.report.warn(format!("{}: {sentence}", self.path));
    }

    /// Records that the string here was `text` before its variables were
    /// replaced.
    pub(super) fn came_from_environment(&self, text: &str) {
        self.report.substituted.borrow_mut().insert(self.path.clone(), text.into());
    }

    /// Records a file that is named here.
    pub(super) fn names_file(&self, path: &Path, kind: NamedFileKind) {
        let file = NamedFile { key: self.path.to_string(), path: path.into(), kind };
        self.report.files.borrow_mut().push(file);
    }

    /// Whether the value here must not be shown, nor anything made from it.
    pub(super) fn is_hidden(&self) -> bool {
        self.path.may_be_secret() || self.report.is_substituted(&self.path)
    }

    /// Whether the value of this key of some list element must not be shown.
    pub(super) fn hides_any(&self, key: &str) -> bool {
        let is_hidden = |path: &KeyPath| match &path.0[..] {
            [list @ .., Step::Index(_), Step::Key(last)] => list == self.path.0 && last == key,
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
