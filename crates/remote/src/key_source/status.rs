//! The state of a key source, for readiness and the status page.

use std::time::SystemTime;

use claimgate_core::keys::{Algorithm, VerifyingKey};

/// A snapshot of a key source.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether a fetch has succeeded once. It stays true in a later outage, when
    /// each request is still decided on its own.
    pub ready: bool,
    /// The keys that can be used.
    pub keys: Vec<KeyStatus>,
    /// When a fetch last succeeded; `None` for keys that are not fetched, or
    /// not yet.
    pub last_success: Option<SystemTime>,
    /// When the last fetch began.
    pub last_attempt: Option<SystemTime>,
    /// When the next one is due.
    pub next_refresh: Option<SystemTime>,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<String>,
}

/// One key that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its id, if it has one.
    pub kid: Option<String>,
    /// What it may verify.
    pub algorithms: Vec<Algorithm>,
    /// When it was first seen.
    pub since: SystemTime,
}

impl KeyStatus {
    pub(super) fn of(key: &VerifyingKey) -> Self {
        Self {
            kid: key.kid().map(str::to_owned),
            algorithms: key.algorithms().collect(),
            since: key.since(),
        }
    }
}
