//! The identity headers: what the upstream is told about the caller.

use std::sync::Arc;

use serde_json::{Map, Value};

/// What the upstream is told about one caller.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Headers to set: names from the settings, values encoded, never empty.
    pub headers: Vec<(Arc<str>, String)>,
    /// The mapped claims, by claim path as the operator wrote it.
    pub claims: Map<String, Value>,
}
