//! From settings to an engine, and the signing keys that outlive a reload.

use std::sync::Arc;

use claimgate::{
    Engine, Provider,
    metrics::Metrics,
    provider::{
        api_key::ApiKeys,
        grpc::{self, GrpcProvider},
        oauth2::{
            OAuth2,
            key_source::{FetchObserver, FetchReport, KeySource, OpenError},
        },
    },
    settings::{AuthSettings, KeyLocation, KeySourceSettings, ProviderKind},
    time::UnixTime,
    token_cache::TokenCache,
};
use claimgate_files::{Content, Contents};
use tokio::runtime::Handle;

/// Why a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// Its keys can't be had.
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

/// The signing keys of one provider.
#[derive(Clone)]
pub(crate) struct Source {
    provider: String,
    keys: Arc<KeySource>,
    issuer: String,
    settings: KeySourceSettings,
    /// Of the files that are read when the source is opened.
    contents: Vec<Content>,
}

/// The engine that `settings` make, and where its keys come from. Keys of
/// `kept` stay as they are; for others a fetch begins on `runtime`, or as soon
/// as that runs.
pub(crate) fn engine(
    settings: &AuthSettings,
    contents: &Contents,
    kept: &[Source],
    metrics: &Metrics,
    runtime: &Handle,
) -> Result<(Engine, Vec<Source>), ProviderError> {
    let _inside = runtime.enter();
    let cache = Arc::new(TokenCache::of(settings));
    let mut sources = Vec::new();
    let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
    for provider in settings.providers.iter().filter(|_| settings.enabled) {
        let (name, forward) = (provider.name.as_str(), provider.forward_token);
        providers.push(match &provider.kind {
            ProviderKind::ApiKey(keys) => Arc::new(ApiKeys::new(name, forward, keys)),
            ProviderKind::OAuth2(oauth2) => {
                let source = source(name, &oauth2.issuer, &oauth2.keys, contents, kept, metrics)?;
                let keys = Arc::clone(&source.keys);
                sources.push(source);
                let oauth2 = oauth2.as_ref().clone();
                Arc::new(OAuth2::new(name, forward, oauth2, keys, Arc::clone(&cache)))
            }
            ProviderKind::Grpc(grpc) => Arc::new(
                GrpcProvider::new(name, forward, grpc, runtime.clone())
                    .map_err(|source| ProviderError::Grpc { provider: name.to_owned(), source })?,
            ),
        });
    }
    Ok((Engine::new(settings, providers, cache), sources))
}

fn source(
    provider: &str,
    issuer: &str,
    settings: &KeySourceSettings,
    contents: &Contents,
    kept: &[Source],
    metrics: &Metrics,
) -> Result<Source, ProviderError> {
    let document = match &settings.location {
        KeyLocation::File(path) => Some(path),
        KeyLocation::Url(_) | KeyLocation::Discovery(_) => None,
    };
    let files = document.into_iter().chain(&settings.ca_file);
    let contents: Vec<_> = files.map(|file| contents.get(file).copied().flatten()).collect();
    let is_same = |kept: &&Source| {
        kept.provider == provider
            && kept.issuer == issuer
            && kept.settings == *settings
            && kept.contents == contents
    };
    if let Some(kept) = kept.iter().find(is_same) {
        return Ok(kept.clone());
    }
    let observer = Arc::new(Meter(metrics.clone()));
    let (keys, background) = KeySource::open(provider, issuer, settings, observer)
        .map_err(|source| ProviderError::Keys { provider: provider.to_owned(), source })?;
    tokio::spawn(background);
    let (provider, issuer) = (provider.to_owned(), issuer.to_owned());
    Ok(Source { provider, keys, issuer, settings: settings.clone(), contents })
}

/// Counts fetches.
struct Meter(Metrics);

impl FetchObserver for Meter {
    fn fetched(&self, report: &FetchReport<'_>) {
        let meter = self.0.fetch_meter(report.provider);
        meter.fetched(report.result, report.duration, report.keys, UnixTime::now());
    }

    fn loaded(&self, provider: &str, keys: usize) {
        self.0.fetch_meter(provider).set_keys(keys);
    }

    fn withdrawn(&self, provider: &str) {
        self.0.fetch_meter(provider).set_keys(0);
    }
}
