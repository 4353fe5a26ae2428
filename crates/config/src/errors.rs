//! What is found in a config file: errors and warnings.

use std::fmt;

use super::{named_file::NamedFile, position::Position};

/// All errors of a config file, displayed one per line, in the order of the
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) errors: Vec<Finding>,
    /// The files that it names, as far as they could be made out.
    pub(super) files: Vec<NamedFile>,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named; `config file` where a text was loaded.
    pub file: String,
    /// Where in the file; `None` if the file can't be read at all.
    pub position: Option<Position>,
    /// The key path (`auth.providers[0].issuer`); empty where it is about the
    /// whole file.
    pub place: String,
    /// What is wrong and what to write instead; never a secret, nor a value
    /// that came from the environment.
    pub message: String,
}

impl ConfigErrors {
    /// One error about a whole file.
    pub(super) fn of_file(
        file: impl fmt::Display,
        position: Option<Position>,
        message: impl fmt::Display,
    ) -> Self {
        let (file, message) = (file.to_string(), message.to_string());
        Self::new(vec![Finding { file, position, place: String::new(), message }], Vec::new())
    }

    /// These errors; there is at least one.
    pub(super) fn new(mut errors: Vec<Finding>, files: Vec<NamedFile>) -> Self {
        errors.sort_by_key(|error| error.position);
        Self { errors, files }
    }

    /// Fails if there is any error.
    pub(super) fn check(errors: Vec<Finding>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::new(errors, Vec::new())) }
    }

    /// Each error; there is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Finding> {
        self.errors.iter()
    }
}

impl From<Finding> for ConfigErrors {
    fn from(error: Finding) -> Self {
        Self::new(vec![error], Vec::new())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

/// `gateway.yaml:12:5: auth.realm: must be a string`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigErrors {}

impl std::error::Error for Finding {}
