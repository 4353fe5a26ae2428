//! Other YAML documents, read in the same steps as the config file and with the
//! same errors: all at once, each with its key path and what to write instead.

use deserr::Deserr;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    environment,
    errors::ConfigErrors,
    report::Report,
    shape,
    yaml::{self, Source},
};

pub use super::{
    file::forms::{Entries, List, OneOrMany, Scalar, Switchable, wrong_kind},
    problems::Problems,
    report::Place,
    spelling::one_of,
};

/// A parsed document whose values are not checked yet.
pub struct Document {
    tree: Map<String, Value>,
    findings: Findings,
}

/// What was found in a document so far.
pub struct Findings {
    report: Report,
    name: String,
    /// It may hold a token.
    text: Zeroizing<String>,
}

impl Document {
    /// Parses a text; `name` names it in errors.
    ///
    /// # Errors
    /// The text is not a YAML mapping.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        let tree = yaml::parse(Source { name, text })?;
        let (report, name, text) = (Report::default(), name.into(), Zeroizing::new(text.into()));
        Ok(Self { tree, findings: Findings { report, name, text } })
    }

    /// The value of a top-level key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.tree.get(key)
    }

    /// Replaces the variables in every string; `env` looks one up.
    pub fn substitute(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        environment::substitute(&mut self.tree, env, &self.findings.root());
    }

    /// The typed document without the values of a wrong type, and what was
    /// found.
    pub fn read<T>(self) -> (T, Findings)
    where
        T: Deserr<Problems> + Default,
    {
        let Self { tree, findings } = self;
        (shape::read(tree, &findings.report), findings)
    }
}

impl Findings {
    /// The top of the document.
    pub fn root(&self) -> Place<'_> {
        Place::root(&self.report)
    }

    /// Fails if anything is wrong.
    ///
    /// # Errors
    /// Every error that was reported.
    pub fn into_result(self) -> Result<(), ConfigErrors> {
        self.report.finish(Source { name: &self.name, text: &self.text }).map(drop)
    }
}
