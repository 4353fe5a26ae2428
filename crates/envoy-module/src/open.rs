//! From settings to an engine.

use std::sync::Arc;

use claimgate::metrics::Metrics;
use claimgate_core::{Engine, settings::AuthSettings, time::UnixTime, token_cache::TokenCache};
use claimgate_files::Contents;
use claimgate_remote::{
    key_source::{FetchObserver, FetchReport},
    providers::{self, ProviderError, Source},
};
use tokio::runtime::Handle;

use crate::{abi, metadata};

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
    let observer: Arc<dyn FetchObserver> = Arc::new(Meter(metrics.clone()));
    let providers = providers::build(settings, contents, kept, &observer, &cache)?;
    let engine = Engine::new(settings, providers.list, cache);
    let engine = match abi::takes_struct_metadata() {
        true => engine.keeping_metadata(metadata::of_caller),
        false => engine,
    };
    Ok((engine, providers.sources))
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
