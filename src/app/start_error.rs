//! Why the service can't start.

use std::io;

use super::{candidate::LoadError, listen::BindError};
use crate::metrics;

/// Why the service can't start; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An address can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system has no threads or file descriptors left.
    #[error("cannot start the workers: {0}, raise the limits of this process")]
    Workers(#[from] io::Error),
    /// A defect that no input causes.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] metrics::MetricsError),
    /// Another such defect.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}
