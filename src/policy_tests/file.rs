//! Policy-test files: YAML to cases.
//!
//! They go through the same steps as the config file, with the same errors:
//! all at once, each with its key path and what to write instead. What a case
//! may say depends on the config that it tests, so that is loaded in between.

use std::path::Path;

use super::case::Case;
use crate::config::{
    ConfigErrors, Loaded,
    document::{Document, Findings},
};

mod check;
mod shape;

use shape::{CasesFile, scalar_text};

/// A policy-test file, read but not yet compared with the config it tests.
pub struct TestFile {
    file: CasesFile,
    findings: Findings,
}

impl TestFile {
    /// Reads the text of the file `name`; `env` looks an environment variable
    /// up.
    ///
    /// # Errors
    /// The text is not a YAML mapping. [`TestFile::cases`] reports every other
    /// error.
    pub fn read(
        name: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let mut document = Document::parse(text, name)?;
        let own = shape::variables(document.get("env"));
        document.substitute(&|name| {
            let own = own.iter().find(|(own, _)| own == name);
            own.map(|(_, value)| value.clone()).or_else(|| env(name))
        });
        let (file, findings) = document.read();
        Ok(Self { file, findings })
    }

    /// The config file that it names, relative to the test file.
    pub fn config(&self) -> Option<&Path> {
        self.file.config.as_deref().map(Path::new)
    }

    /// A variable that the file sets, for the config that it tests.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = self.file.env.as_ref()?.0.iter().find(|(own, _)| own == name);
        own.and_then(|(_, value)| scalar_text(&value.as_ref()?.0))
    }

    /// The cases, to be run against `config`. Files that they name lie in
    /// `folder` unless their path is absolute.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn cases(self, config: &Loaded, folder: &Path) -> Result<Vec<Case>, ConfigErrors> {
        let Self { file, findings } = self;
        let cases = check::cases(file, &config.settings.auth, folder, &findings.root());
        findings.into_result().map(|()| cases)
    }
}
