//! How a key source is doing, for readiness and for people.

use std::time::SystemTime;

use claimgate_core::keys::{Algorithm, VerifyingKey};

/// A snapshot of a key source.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether there have been keys once. An outage later does not take it
    /// back: requests are answered one by one then, not turned away as a whole.
    pub ready: bool,
    /// The usable keys.
    pub keys: Vec<KeyStatus>,
    /// When the keys were last fetched or called unchanged; `None` for keys
    /// that are not fetched, or not yet.
    pub last_success: Option<SystemTime>,
    /// When the last fetch began.
    pub last_attempt: Option<SystemTime>,
    /// When the next one is due.
    pub next_refresh: Option<SystemTime>,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<String>,
}

/// One usable key.
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
