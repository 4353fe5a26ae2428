//! Makes the providers of a configuration, and keeps signing keys through a
//! reload.

use std::{sync::Arc, time::Duration};

use claimgate_core::{
    provider::Provider,
    provider::api_key::ApiKeys,
    provider::oauth2::OAuth2,
    settings::{AuthSettings, KeyLocation, KeySourceSettings, ProviderKind},
    token_cache::TokenCache,
};
use claimgate_files::{Content, Contents};
use tokio::{runtime::Handle, time::timeout};
use tracing::warn;

use crate::{
    grpc::{self, GrpcProvider},
    key_source::{FetchObserver, KeySource, OpenError},
};

/// Why a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its keys can't be opened.
    #[error("auth provider {provider}: {source}")]
    Keys {
        /// Its name.
        provider: String,
        /// Why.
        source: OpenError,
    },
    /// It can't be called.
    #[error("auth provider {provider}: {source}")]
    Grpc {
        /// Its name.
        provider: String,
        /// Why.
        source: grpc::SetupError,
    },
}

/// The providers of one configuration.
pub struct Providers {
    /// In the order of the settings.
    pub list: Vec<Arc<dyn Provider>>,
    /// The keys of those that verify JWTs.
    pub sources: Vec<Source>,
}

/// The signing keys of one provider.
#[derive(Clone, Debug)]
pub struct Source {
    /// The provider's name.
    pub provider: String,
    /// Its keys.
    pub keys: Arc<KeySource>,
    origin: Origin,
}

/// What a provider's keys depend on. While it stays the same, they need not be
/// fetched again.
#[derive(Clone, Debug, PartialEq)]
struct Origin {
    issuer: String,
    settings: KeySourceSettings,
    /// The content of the files that are read when the source is opened.
    contents: Vec<Content>,
}

/// How long a new configuration waits for the first keys of its new issuers
/// before it is put in force without them.
const FIRST_FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits, up to a limit, until the keys of every issuer that is not in
/// `existing` were fetched or failed to be.
pub async fn wait_for_keys(sources: &[Source], existing: &[Source]) {
    let is_new = |source: &&Source| !existing.iter().any(|existing| existing.is(source));
    let fetched = async {
        // All fetches are under way, so it does not matter who is asked first.
        for source in sources.iter().filter(is_new) {
            source.keys.first_fetch_done().await;
        }
    };
    if timeout(FIRST_FETCH_TIMEOUT, fetched).await.is_err() {
        warn!("not every new issuer has answered yet, continuing without their keys");
    }
}

impl Source {
    /// Whether both share the same keys.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }
}

/// Makes the providers that `settings` name.
///
/// A provider takes its keys over from `previous`, the sources of the
/// configuration before, if its name and all that the keys depend on are the
/// same. For others a task that fetches them is spawned, which reports to
/// `observer` and ends when the last user of the keys is gone.
pub fn build(
    settings: &AuthSettings,
    contents: &Contents,
    previous: &[Source],
    observer: &Arc<dyn FetchObserver>,
    cache: &Arc<TokenCache>,
) -> Result<Providers, ProviderError> {
    let mut providers = Providers { list: Vec::new(), sources: Vec::new() };
    if !settings.enabled {
        // No provider is asked, so readiness must not wait for their keys.
        return Ok(providers);
    }
    for provider in &settings.providers {
        let name = provider.name.as_str();
        let forward = provider.forward_token;
        providers.list.push(match &provider.kind {
            ProviderKind::ApiKey(keys) => Arc::new(ApiKeys::new(name, forward, keys)),
            ProviderKind::OAuth2(oauth2) => {
                let origin = Origin::new(&oauth2.issuer, &oauth2.keys, contents);
                let source = source(name, origin, previous, observer)?;
                let keys = Arc::clone(&source.keys);
                providers.sources.push(source);
                let oauth2 = oauth2.as_ref().clone();
                Arc::new(OAuth2::new(name, forward, oauth2, keys, Arc::clone(cache)))
            }
            ProviderKind::Grpc(grpc) => Arc::new(
                GrpcProvider::new(name, forward, grpc, Handle::current())
                    .map_err(|source| ProviderError::Grpc { provider: name.to_owned(), source })?,
            ),
        });
    }
    Ok(providers)
}

impl Origin {
    fn new(issuer: &str, settings: &KeySourceSettings, contents: &Contents) -> Self {
        let document = match &settings.location {
            KeyLocation::File(path) => Some(path),
            KeyLocation::Url(_) | KeyLocation::Discovery(_) => None,
        };
        let files = document.into_iter().chain(&settings.ca_file);
        let contents = files.map(|file| contents.get(file).copied().flatten()).collect();
        Self { issuer: issuer.to_owned(), settings: settings.clone(), contents }
    }
}

fn source(
    provider: &str,
    origin: Origin,
    previous: &[Source],
    observer: &Arc<dyn FetchObserver>,
) -> Result<Source, ProviderError> {
    let provider = provider.to_owned();
    let is_same = |source: &&Source| source.provider == provider && source.origin == origin;
    if let Some(source) = previous.iter().find(is_same) {
        return Ok(source.clone());
    }
    match KeySource::open(&provider, &origin.issuer, &origin.settings, Arc::clone(observer)) {
        Ok((keys, task)) => {
            tokio::spawn(task);
            Ok(Source { provider, keys, origin })
        }
        Err(source) => Err(ProviderError::Keys { provider, source }),
    }
}
