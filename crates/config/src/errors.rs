//! The errors of a config file.

use std::fmt;

/// All errors of a config file, displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

/// One error of a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key path (`auth.providers[0].issuer`), or the file
    /// where the error has no key.
    pub place: String,
    /// What is wrong and what to write instead; never a secret.
    pub message: String,
}

impl ConfigErrors {
    /// One error.
    pub(super) fn single(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self(vec![ConfigError { place: place.to_string(), message: message.to_string() }])
    }

    /// Fails if there is any error.
    pub(super) fn check(errors: impl Iterator<Item = ConfigError>) -> Result<(), Self> {
        let errors: Vec<_> = errors.collect();
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Each error; there is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ConfigErrors {}

impl std::error::Error for ConfigError {}
