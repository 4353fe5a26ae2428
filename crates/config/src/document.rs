//! Other YAML documents, read in the same steps as the config file and with the
//! same errors: all at once, each with its key path and what to write instead.

use deserr::Deserr;
use serde_json::{Map, Value};

use super::{environment, errors::ConfigErrors, shape, yaml};

pub use super::{
    file::forms::{Entries, List, OneOrMany, Scalar, Switchable, wrong_kind},
    report::{Place, Report},
    shape::{Problems, one_of},
};

/// A parsed document whose values are not checked yet.
pub struct Document {
    tree: Map<String, Value>,
    report: Report,
}

impl Document {
    /// Parses a text; `what` names it in errors.
    ///
    /// # Errors
    /// The text is not a YAML mapping.
    pub fn parse(text: &str, what: &str) -> Result<Self, ConfigErrors> {
        yaml::parse(text, what).map(|tree| Self { tree, report: Report::default() })
    }

    /// The value of a top-level key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.tree.get(key)
    }

    /// Replaces the variables in every string; `env` looks one up.
    pub fn substitute(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        environment::substitute(&mut self.tree, env, &Place::root(&self.report));
    }

    /// The typed document without the values of a wrong type, and the report
    /// that lists them.
    pub fn read<T>(self) -> (T, Report)
    where
        T: Deserr<Problems> + Default,
    {
        let Self { tree, report } = self;
        (shape::read(tree, &report), report)
    }
}
