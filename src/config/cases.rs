//! Policy-test files: YAML to cases.
//!
//! They go through the same steps as the config file, with the same errors:
//! all at once, each with its key path and what to write instead. What a case
//! may say depends on the config that it tests, so that is loaded in between.

use std::path::Path;

use serde_json::Value;

use super::{
    ConfigErrors, Loaded, environment,
    report::{Place, Report},
    shape, yaml,
};
use crate::policy_tests::Case;

mod check;
mod file;

use file::CasesFile;

/// A policy-test file, read but not yet compared with the config it tests.
pub struct CasesRead {
    file: CasesFile,
    report: Report,
}

impl CasesRead {
    /// Reads the text of a file; `env` looks an environment variable up.
    ///
    /// # Errors
    /// The text is no YAML mapping. Everything else that is wrong is told by
    /// [`CasesRead::cases`].
    pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut tree = yaml::parse(text, "test file")?;
        let report = Report::default();
        let root = Place::root(&report);
        let own = file::variables(tree.get("env"));
        let look_up = |name: &str| {
            let own = own.iter().find(|(own, _)| own == name);
            own.map(|(_, value)| value.clone()).or_else(|| env(name))
        };
        environment::substitute(&mut tree, &look_up, &root);
        let file = shape::read(tree, &report);
        Ok(Self { file, report })
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
        let Self { file, report } = self;
        let cases = check::cases(file, &config.settings.auth, folder, &Place::root(&report));
        report.into_result().map(|()| cases)
    }
}

/// Text of a scalar, as the environment holds it.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}
