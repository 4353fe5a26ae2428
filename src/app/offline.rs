//! Deciding without serving: the engine of a config file, for commands that
//! answer a question and end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use claimgate_files::Contents;
use tracing::warn;

use super::{
    instruments::Instruments,
    site::{LoadError, Plan},
    start_error::StartError,
};
use crate::{
    config::{self, Loaded},
    engine::Engine,
    metrics::Metrics,
    settings::{KeyLocation, OAuth2Settings, ProviderKind, Settings},
};

/// Sets up everything that `settings` name, as the service would, and drops it
/// again; no address is bound and nothing fetched.
///
/// # Errors
/// The service could not start with them.
pub async fn try_out(settings: Settings) -> Result<(), StartError> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "")?;
    // Without an await before the drop, no task that fetches keys gets to run.
    drop(Plan::make(settings, &Contents::new(), &[], &Instruments::from(metrics))?);
    Ok(())
}

/// A configuration ready to decide.
#[derive(Debug)]
pub struct Offline {
    /// Decides.
    pub engine: Engine,
    /// How long a decision may wait for somebody, `server.check_timeout_ms`.
    pub check_timeout: Duration,
}

/// A file with the signing keys of an issuer, in place of what the config says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKeys {
    /// The provider that verifies with them; `None` for the only one there is.
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
    /// Local keys are given for no provider that verifies JWTs.
    #[error("{named}; the providers with keys are: {}", known.join(", "))]
    NoSuchProvider {
        /// What was asked for.
        named: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl Offline {
    /// Reads the config file at `path` and asks its issuers for their keys,
    /// those aside whose keys are local. The listener's TLS and tracing
    /// are left out: they belong to the machine that serves.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub async fn open(path: &Path, local: &[LocalKeys]) -> Result<Self, OfflineError> {
        let wrong = |errors| LoadError::Config { path: path.to_owned(), errors };
        let mut loaded = config::read(path).map_err(wrong).map_err(StartError::from)?;
        loaded.settings.server.grpc.tls = None;
        loaded.settings.server.tracing = None;
        for keys in local {
            keys.replace(&mut loaded)?;
        }
        let named = loaded.settings.files();
        loaded.files.retain(|file| named.contains(&file.path));
        loaded.check_files().map_err(wrong).map_err(StartError::from)?;
        for warning in &loaded.warnings {
            warn!(config = %path.display(), "{warning}");
        }
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "").map_err(StartError::from)?;
        let check_timeout = loaded.settings.server.check_timeout;
        let plan = Plan::make(loaded.settings, &Contents::new(), &[], &Instruments::from(metrics));
        let plan = plan.map_err(StartError::from)?;
        plan.settle(&[]).await;
        Ok(Self { engine: plan.engine, check_timeout })
    }
}

impl LocalKeys {
    /// Gives the provider these keys instead of its own.
    fn replace(&self, loaded: &mut Loaded) -> Result<(), OfflineError> {
        let mut candidates: Vec<(&str, &mut OAuth2Settings)> = Vec::new();
        for provider in &mut loaded.settings.auth.providers {
            if let ProviderKind::OAuth2(oauth2) = &mut provider.kind {
                candidates.push((&provider.name, oauth2));
            }
        }
        let known: Vec<String> = candidates.iter().map(|(name, _)| (*name).to_owned()).collect();
        let chosen = match (&self.provider, candidates.len()) {
            (Some(wanted), _) => candidates.into_iter().find(|(name, _)| name == wanted),
            (None, 1) => candidates.into_iter().next(),
            (None, _) => None,
        };
        let Some((_, oauth2)) = chosen else {
            let named = match &self.provider {
                Some(provider) => format!("{provider:?} is no provider with signing keys"),
                None => "these keys could be any provider's".into(),
            };
            return Err(OfflineError::NoSuchProvider { named, known });
        };
        oauth2.keys.location = KeyLocation::File(self.file.clone());
        (oauth2.keys.ca_file, oauth2.keys.fetch_token_file) = (None, None);
        Ok(())
    }
}
