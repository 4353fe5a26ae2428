//! One API key as a program names it.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::is_name;
use crate::{
    provider::api_key::key::{self, KeyHash},
    settings::ApiKeySettings,
    time::UnixTime,
};

/// An API key for [`use_api_keys`](super::EngineBuilder::use_api_keys). It
/// grants every scope unless [`ApiKey::scopes`] names some.
#[derive(Clone)]
#[must_use]
pub struct ApiKey {
    settings: ApiKeySettings,
    /// The length of the key, where it is known.
    length: usize,
    /// Why no request could carry the key, if none could.
    defect: Option<&'static str>,
}

impl ApiKey {
    /// A key in plaintext; `name` becomes the subject. The key is hashed at
    /// once, and the text that is handed over is wiped.
    pub fn new(name: impl Into<String>, key: impl Into<String>) -> Self {
        let key = Zeroizing::new(key.into());
        let defect = key::defect(&key);
        Self { length: key.len(), defect, ..Self::hashed(name, key::hash(&key)) }
    }

    /// A key of which only the SHA-256 is known; [`key::parse_hash`] reads
    /// what `claimgate hash-key` prints.
    pub fn hashed(name: impl Into<String>, hash: KeyHash) -> Self {
        let settings = ApiKeySettings {
            name: name.into(),
            hash,
            scopes: vec!["*".into()],
            expires_at: None,
            not_before: None,
            revoked: false,
            claims: Map::new(),
            plan: None,
        };
        Self { settings, length: 0, defect: None }
    }

    /// What it grants; `*` grants all.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.settings.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// From this moment on it is refused.
    pub fn expires_at(mut self, time: UnixTime) -> Self {
        self.settings.expires_at = Some(time);
        self
    }

    /// Until this moment it is refused.
    pub fn not_before(mut self, time: UnixTime) -> Self {
        self.settings.not_before = Some(time);
        self
    }

    /// The plan it is on, whatever its claims say.
    pub fn plan(mut self, plan: impl Into<String>) -> Self {
        self.settings.plan = Some(plan.into());
        self
    }

    /// It is refused whatever the time, with a reason that says so.
    pub fn revoked(mut self) -> Self {
        self.settings.revoked = true;
        self
    }

    /// A fact about its holder, treated like a token's claim.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.claims.insert(name.into(), value.into());
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The settings of the key, if it can be used where tokens may have this
    /// many bytes.
    pub(super) fn check(self, max_token_bytes: usize) -> Result<ApiKeySettings, &'static str> {
        let settings = self.settings;
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        if self.length > max_token_bytes {
            return Err("is longer than `max_token_bytes`; give a shorter key");
        }
        if !is_name(&settings.name) {
            return Err("needs a name without control characters");
        }
        if settings.scopes.iter().any(String::is_empty) {
            return Err("grants an empty scope; leave it out");
        }
        match (settings.not_before, settings.expires_at) {
            (Some(start), Some(end)) if end <= start => {
                Err("expires before it starts, so it would never be valid")
            }
            _ => Ok(settings),
        }
    }
}

/// Without its hash: short keys can be found by trying.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.settings.name)
            .field("scopes", &self.settings.scopes)
            .finish_non_exhaustive()
    }
}
