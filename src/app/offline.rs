//! Decisions without serving: the engine of a config file, for commands that
//! decide one request and exit.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use claimgate_files::Contents;
use tokio::{pin, time::timeout};
use tracing::warn;

use super::{
    candidate::{Candidate, LoadError},
    instruments::Instruments,
    start_error::StartError,
};
use crate::{
    config::{self, Loaded},
    engine::Engine,
    metrics::Metrics,
    settings::{KeyLocation, OAuth2Settings, ProviderKind},
};

/// Builds everything that the service would build from a configuration, and
/// drops it; binds no address and fetches nothing.
///
/// # Errors
/// The service could not start with it.
pub async fn dry_run(loaded: &Loaded) -> Result<(), StartError> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "")?;
    let settings = loaded.settings.clone();
    // Without an await before the drop, no task that fetches keys runs.
    let built = Candidate::build(settings, &Contents::new(), &[], &Instruments::from(metrics));
    built.map(drop).map_err(|error| error.located(&loaded.files).into())
}

/// A configuration that decides without serving.
#[derive(Debug)]
pub struct Offline {
    /// The engine.
    pub engine: Engine,
    /// How long a decision may wait for a provider, `server.check_timeout_ms`.
    pub check_timeout: Duration,
    /// How many warnings the config file has; they are in the log.
    pub warnings: usize,
}

/// How long a command waits before it says for whom.
const SILENCE: Duration = Duration::from_millis(500);

/// A file with an issuer's signing keys, used instead of the configured ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKeys {
    /// The provider that uses them; `None` means the only one with keys.
    pub provider: Option<String>,
    /// A JWK Set.
    pub file: PathBuf,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The service could not start with it either.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The local keys don't name a provider that verifies JWTs.
    #[error("{named}; the providers with keys are: {}", known.join(", "))]
    NoSuchProvider {
        /// What was named, and why it does not match.
        named: String,
        /// The providers with keys.
        known: Vec<String>,
    },
}

impl Offline {
    /// Reads the config file at `path` and fetches its issuers' keys, except for
    /// those in `local`. The listener's TLS and tracing are ignored: their files
    /// belong to the machine that serves.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub async fn open(path: &Path, local: &[LocalKeys]) -> Result<Self, OfflineError> {
        Self::open_telling(path, local, |_| {}).await
    }

    /// The same; `waiting` is told the names of the providers whose issuers let
    /// it wait.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub async fn open_telling(
        path: &Path,
        local: &[LocalKeys],
        waiting: impl FnOnce(&[&str]),
    ) -> Result<Self, OfflineError> {
        let invalid = |errors| StartError::from(LoadError::Config(errors));
        let mut loaded = config::read(path).map_err(invalid)?;
        loaded.settings.server.grpc.tls = None;
        loaded.settings.server.tracing = None;
        for keys in local {
            keys.replace(&mut loaded)?;
        }
        let named = loaded.settings.files();
        loaded.files.retain(|file| named.contains(&file.path));
        loaded.check_files().map_err(invalid)?;
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "").map_err(StartError::from)?;
        let check_timeout = loaded.settings.server.check_timeout;
        let instruments = Instruments::from(metrics);
        let candidate = Candidate::build(loaded.settings, &Contents::new(), &[], &instruments);
        let candidate = candidate.map_err(StartError::from)?;
        {
            let keys = candidate.wait_for_keys(&[]);
            pin!(keys);
            if timeout(SILENCE, &mut keys).await.is_err() {
                waiting(&candidate.without_answer());
                keys.await;
            }
        }
        Ok(Self { engine: candidate.engine, check_timeout, warnings: loaded.warnings.len() })
    }
}

impl LocalKeys {
    /// Replaces the provider's key location with this file.
    fn replace(&self, loaded: &mut Loaded) -> Result<(), OfflineError> {
        let mut candidates: Vec<(&str, &mut OAuth2Settings)> = Vec::new();
        for provider in &mut loaded.settings.auth.providers {
            if let ProviderKind::OAuth2(oauth2) = &mut provider.kind {
                candidates.push((&provider.name, oauth2));
            }
        }
        let known: Vec<String> = candidates.iter().map(|(name, _)| (*name).to_owned()).collect();
        let chosen = match (&self.provider, candidates.len()) {
            (Some(provider), _) => candidates.into_iter().find(|(name, _)| name == provider),
            (None, 1) => candidates.into_iter().next(),
            (None, _) => None,
        };
        let Some((_, oauth2)) = chosen else {
            let named = match &self.provider {
                Some(provider) => format!("{provider:?} is not a provider with signing keys"),
                None => "these keys could be any provider's".into(),
            };
            return Err(OfflineError::NoSuchProvider { named, known });
        };
        oauth2.keys.location = KeyLocation::File(self.file.clone());
        (oauth2.keys.ca_file, oauth2.keys.fetch_token_file) = (None, None);
        Ok(())
    }
}
