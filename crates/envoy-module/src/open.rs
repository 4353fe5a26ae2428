//! From settings to an engine.

use std::sync::Arc;

use claimgate::{
    app::instruments::Instruments,
    traces::{self, Tracer},
};
use claimgate_config::settings::Settings;
use claimgate_core::{Engine, token_cache::TokenCache};
use claimgate_files::Contents;
use claimgate_remote::{
    key_source::FetchObserver,
    providers::{self, ProviderError, Source},
};
use tokio::runtime::Handle;
use tracing::warn;

use crate::{abi, metadata};

/// What decides and who records spans, by one configuration.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    /// Where its keys come from.
    pub(crate) sources: Vec<Source>,
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// Why a configuration that was read can't be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A provider can't be set up.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Spans can't be exported so.
    #[error("server.tracing: {0}")]
    Tracing(#[from] traces::ExporterError),
}

/// Opens what `settings` name. Keys of `kept` stay as they are; for others a
/// fetch begins on `runtime`, or as soon as that runs.
pub(crate) fn open(
    settings: &Settings,
    contents: &Contents,
    kept: &[Source],
    instruments: &Instruments,
    runtime: &Handle,
) -> Result<Opened, OpenError> {
    let _inside = runtime.enter();
    let auth = &settings.auth;
    let cache = Arc::new(TokenCache::of(auth));
    // Before the sources: their first fetches begin when they are opened.
    let tracer = instruments.tracer.open(settings.server.tracing.as_ref(), contents)?;
    let handle = instruments.tracer.with_next(tracer.as_ref());
    let observer: Arc<dyn FetchObserver> =
        Arc::new(Instruments { tracer: handle, ..instruments.clone() });
    let providers = providers::build(auth, contents, kept, &observer, &cache)?;
    let engine = Engine::new(auth, providers.list, cache);
    let engine = match abi::takes_struct_metadata() {
        true => engine.keeping_metadata(metadata::of_caller),
        false => {
            if auth.limits.as_ref().is_some_and(|limits| !limits.mode.counts_here()) {
                warn!(
                    "auth.limits: this Envoy takes no structure from a module, so it is not told \
                     what a plan allows; use Envoy 1.40 or later, or `limits: local`"
                );
            }
            engine
        }
    };
    Ok(Opened { engine, sources: providers.sources, tracer })
}
