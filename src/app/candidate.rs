//! A configuration that was loaded and built, but is not active yet.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use claimgate_files::{Contents, Hung, Lane};
use claimgate_remote::providers::{self, ProviderError, Source};
use futures_util::FutureExt;
use rustls::ServerConfig;
use tracing::warn;

use super::{
    instruments::Instruments,
    tls::{self, TlsError},
    watch::FileWatch,
};
use crate::{
    config::{self, ConfigErrors, Finding, Loaded, NamedFile, NamedFileKind},
    engine::Engine,
    provider::oauth2::key_source::FetchObserver,
    settings::{AuthSettings, ProviderKind, ServerSettings, Settings},
    token_cache::TokenCache,
    traces::{self, Tracer},
};

/// Why a configuration can't be used; one line.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is invalid, or one that it names.
    #[error("{}", OneLine(.0))]
    Config(ConfigErrors),
    /// The file, or one that it names, is on a mount that hangs.
    #[error("{}: {hung}", path.display())]
    Hung {
        /// The config file.
        path: PathBuf,
        /// Which read hangs.
        hung: Hung,
    },
    /// A provider can't be set up.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The listener's TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The exporter of spans can't be set up.
    #[error("server.tracing: {0}")]
    Tracing(#[from] traces::ExporterError),
}

impl LoadError {
    /// This error, with its position in the config file if one of these files
    /// is to blame.
    pub(super) fn located(self, files: &[NamedFile]) -> Self {
        let found = match &self {
            Self::Tls(error) => {
                let (key, reason) = error.key_and_reason();
                files.iter().find(|file| file.key == key).map(|file| file.finding(reason))
            }
            Self::Provider(error) => {
                let reason = error.to_string();
                let is_named = |file: &&NamedFile| reason.contains(&*file.path.to_string_lossy());
                files.iter().find(is_named).map(|file| file.finding(reason.clone()))
            }
            _ => None,
        };
        found.map_or(self, |error| Self::Config(error.into()))
    }
}

/// Several errors on one line.
struct OneLine<'a>(&'a ConfigErrors);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// Everything made of one config file, before it is activated.
pub(crate) struct Candidate {
    pub(super) server: ServerSettings,
    pub(super) auth: AuthSettings,
    pub(super) engine: Engine,
    pub(super) sources: Vec<Source>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) tracer: Option<Arc<Tracer>>,
    /// Of the config file; empty without one.
    pub(super) digest: String,
    /// What its author may not have intended.
    pub(super) warnings: Vec<Finding>,
}

impl Candidate {
    /// Reads the config file and every file that it names, which `watch` watches
    /// from now on. Starts to fetch the keys of issuers that are not in
    /// `existing`, the key sources of the active configuration.
    ///
    /// Files are read on a thread of their own, so a mount that hangs blocks
    /// nothing else. Cancellation-safe.
    pub(crate) async fn read(
        path: &Path,
        watch: &mut FileWatch,
        existing: &[Source],
        instruments: &Instruments,
        lane: &Lane,
    ) -> Result<Self, LoadError> {
        let hung = |hung| LoadError::Hung { path: path.to_owned(), hung };
        let config = path.to_owned();
        let read = move || config::read(&config).map_err(ConfigErrors::with_those_of_files);
        let loaded = lane.run(read).await.map_err(hung)?.map_err(LoadError::Config)?;
        // Before the files are read, so that no later change is missed. Token
        // files are read for each fetch, so their changes need no reload.
        let files = loaded.files.iter().filter(|file| file.kind != NamedFileKind::Token);
        let files = files.map(|file| file.path.clone());
        watch.set_files(files.chain([path.to_owned()])).await.map_err(hung)?;
        let Loaded { settings, files, warnings, digest, .. } = loaded;
        let contents = watch.contents().clone();
        let (existing, instruments) = (existing.to_vec(), instruments.clone());
        let build = move || {
            config::check_files(&files).map_err(LoadError::Config)?;
            let built = Self::build(settings, &contents, &existing, &instruments);
            built.map_err(|error| error.located(&files))
        };
        let candidate = lane.run(build).await.map_err(hung)??;
        for warning in &warnings {
            warn!("{warning}");
        }
        Ok(Self { digest, warnings, ..candidate })
    }

    /// Builds a candidate from `settings`; `contents` are those of the files that
    /// they name.
    pub(super) fn build(
        settings: Settings,
        contents: &Contents,
        existing: &[Source],
        instruments: &Instruments,
    ) -> Result<Self, LoadError> {
        let cache = Arc::new(TokenCache::of(&settings.auth));
        // Before the key sources, which begin to fetch when they are opened.
        let tracer = instruments.tracer.open(settings.server.tracing.as_ref(), contents);
        let handle = instruments.tracer.with_next(tracer.as_ref().ok().and_then(Option::as_ref));
        let observer: Arc<dyn FetchObserver> =
            Arc::new(Instruments { tracer: handle, ..instruments.clone() });
        let providers = providers::build(&settings.auth, contents, existing, &observer, &cache)?;
        let tls = settings.server.grpc.tls.as_ref().map(tls::read).transpose()?;
        let tracer = tracer?;
        let engine = Engine::new(&settings.auth, providers.list, cache);
        let (server, auth) = (settings.server, settings.auth);
        let sources = providers.sources;
        let (digest, warnings) = (String::new(), Vec::new());
        Ok(Self { server, auth, engine, sources, tls, tracer, digest, warnings })
    }

    /// How many connections the service may open itself at a time: one to each
    /// issuer, custom provider and collector.
    pub(crate) fn outgoing_connections(&self) -> usize {
        let calls = |kind: &ProviderKind| !matches!(kind, ProviderKind::ApiKey(_));
        let providers = self.auth.providers.iter().filter(|provider| calls(&provider.kind));
        providers.count() + usize::from(self.server.tracing.is_some())
    }

    /// The providers whose issuers have not answered yet.
    pub(crate) fn without_answer(&self) -> Vec<&str> {
        let waits = |source: &&Source| source.keys.first_fetch_done().now_or_never().is_none();
        self.sources.iter().filter(waits).map(|source| source.provider.as_str()).collect()
    }

    /// Waits, up to a limit, until the keys of every issuer that is not in
    /// `existing` were fetched or failed to be.
    pub(crate) async fn wait_for_keys(&self, existing: &[Source]) {
        providers::wait_for_keys(&self.sources, existing).await;
    }
}
