//! The rules of an AWS Application Load Balancer as a config file, and what is
//! unsafe about them.
//!
//! [`document`] finds the listeners in any of the documents that AWS and
//! Terraform print, [`matcher`] and [`routes`] turn rules into routes that ask
//! no less, [`produce`] writes the file, and [`lint`] judges the listeners.

mod alb;
mod aws;
mod document;
mod lint;
mod matcher;
mod node;
mod notes;
mod outcome;
mod pattern;
mod produce;
mod providers;
mod region;
mod routes;
mod terraform;
mod yaml;

pub use alb::Listener;
pub use lint::{Finding, write as write_findings};
pub use node::DocumentError;
pub use produce::ProduceError;

/// The load balancer that a document describes.
#[derive(Debug)]
pub struct LoadBalancer {
    listeners: Vec<Listener>,
}

/// Why no listener can be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The name fits no listener.
    #[error("no listener is called {name:?}; there are {}", .listeners.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The listeners in the document.
        listeners: Vec<String>,
    },
    /// Nothing to take over.
    #[error(
        "no listener checks tokens: none of {} has a jwt-validation action, so there is nothing \
         for Claimgate to take over",
        .0.join(", ")
    )]
    NoTokens(Vec<String>),
    /// Several listeners check tokens, each by rules of its own.
    #[error("several listeners check tokens: choose one of {} with --listener", .0.join(", "))]
    Several(Vec<String>),
}

impl LoadBalancer {
    /// Reads the JSON of AWS or Terraform.
    ///
    /// # Errors
    /// The text is not such a document; the error says where.
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        document::read(text).map(|listeners| Self { listeners })
    }

    /// The listener to import: the one that checks tokens, among those called
    /// `name` if a name is given.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn listener(&self, name: Option<&str>) -> Result<&Listener, ChoiceError> {
        let called = self.called(name)?;
        let checking: Vec<_> =
            called.iter().copied().filter(|listener| listener.validates()).collect();
        match checking.as_slice() {
            [] => Err(ChoiceError::NoTokens(labels(&called))),
            [listener] => Ok(listener),
            // Claimgate sees no ports, so one file can't tell two listeners apart.
            [first, others @ ..] if others.iter().all(|other| other.rules == first.rules) => {
                Ok(first)
            }
            several => Err(ChoiceError::Several(labels(several))),
        }
    }

    /// The config file for one of its listeners.
    ///
    /// # Errors
    /// No config file can say what the listener's rules say.
    pub fn config(&self, listener: &Listener) -> Result<String, ProduceError> {
        let is_other = |other: &&Listener| !std::ptr::eq(*other, listener);
        let others: Vec<_> = self.listeners.iter().filter(is_other).collect();
        produce::config(listener, &others)
    }

    /// What is unsafe about the listeners, or about those called `name`.
    ///
    /// # Errors
    /// [`ChoiceError::Unknown`].
    pub fn findings(&self, name: Option<&str>) -> Result<Vec<Finding>, ChoiceError> {
        Ok(lint::findings(&self.called(name)?))
    }

    fn called(&self, name: Option<&str>) -> Result<Vec<&Listener>, ChoiceError> {
        let all: Vec<_> = self.listeners.iter().collect();
        let Some(name) = name else { return Ok(all) };
        let called: Vec<_> =
            all.iter().copied().filter(|listener| listener.is_called(name)).collect();
        if called.is_empty() {
            return Err(ChoiceError::Unknown { name: name.into(), listeners: labels(&all) });
        }
        Ok(called)
    }
}

fn labels(listeners: &[&Listener]) -> Vec<String> {
    listeners.iter().map(|listener| listener.label.escape_debug().to_string()).collect()
}
