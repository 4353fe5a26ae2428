//! What one configuration amounts to, and how another takes its place.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claimgate_files::{Contents, Hung, Lane};
use claimgate_remote::providers::{self, ProviderError, Source};
use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    connection::Tls,
    instruments::Instruments,
    tls::{self, TlsError},
    watch::Watch,
};
use crate::{
    check::{ConfigHandle, Snapshot},
    config::{self, ConfigErrors, Loaded, NamedFileKind},
    engine::Engine,
    metrics::{CheckMeters, Metrics},
    provider::oauth2::key_source::{FetchObserver, KeySource},
    settings::{AuthSettings, ProviderKind, ServerSettings, Settings},
    status::{Board, InForce},
    time::UnixTime,
    token_cache::TokenCache,
    traces::{self, Tracer, Traces},
};

/// How long a configuration waits for the first keys of its new issuers
/// before it takes effect without them.
const FIRST_FETCH_LIMIT: Duration = Duration::from_secs(5);

/// Why a configuration can't be put in force; one line.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is wrong, or one that it names.
    #[error("{}", OneLine(path, errors))]
    Config {
        /// The config file.
        path: PathBuf,
        /// What is wrong.
        errors: ConfigErrors,
    },
    /// The file, or one that it names, is on a mount that hangs.
    #[error("{}: {hung}", path.display())]
    Hung {
        /// The config file.
        path: PathBuf,
        /// What happened.
        hung: Hung,
    },
    /// A provider can't be set up.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The listener's TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Spans can't be exported so.
    #[error("server.tracing: {0}")]
    Traces(#[from] traces::SetupError),
}

/// Several errors of a file on one line.
struct OneLine<'a>(&'a Path, &'a ConfigErrors);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.display().to_string();
        write!(f, "{file}: ")?;
        for (index, error) in self.1.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            // Where no key is to blame, the file is.
            if error.place == file {
                write!(f, "{separator}{}", error.message)?;
            } else {
                write!(f, "{separator}{error}")?;
            }
        }
        Ok(())
    }
}

/// Everything made of one config file, not in force yet.
pub(crate) struct Plan {
    pub(crate) server: ServerSettings,
    auth: AuthSettings,
    pub(super) engine: Engine,
    sources: Vec<Source>,
    tls: Option<Arc<ServerConfig>>,
    tracer: Option<Arc<Tracer>>,
    /// Of the config file; empty if there is none.
    digest: String,
}

/// Everything made of the configuration in force.
pub(crate) struct Site {
    pub(crate) config: ConfigHandle,
    pub(crate) tls: Tls,
    pub(crate) server: ServerSettings,
    pub(crate) sources: Vec<Source>,
    /// Those of the first configuration, by which everything is bound.
    bound: ServerSettings,
    pub(crate) instruments: Instruments,
    board: Arc<Board>,
}

impl Plan {
    /// Reads the config file and all that it names; from now on `watch`
    /// watches those. Fetches of new issuers' keys begin.
    ///
    /// Files are read on a thread where a mount that hangs holds up nothing
    /// else. Cancelling this leaves all as it was.
    pub(crate) async fn read(
        path: &Path,
        watch: &mut Watch,
        kept: &[Source],
        instruments: &Instruments,
        lane: &Lane,
    ) -> Result<Self, LoadError> {
        let hung = |hung| LoadError::Hung { path: path.to_owned(), hung };
        let config = path.to_owned();
        let wrong = move |errors| LoadError::Config { path: config.clone(), errors };
        let config = path.to_owned();
        let loaded = lane.run(move || config::read(&config)).await.map_err(hung)?;
        let loaded = loaded.map_err(&wrong)?;
        // Before the files are read: what changes later is noticed then.
        // Tokens for fetches are read each time, so a new one changes nothing.
        let files = loaded.files.iter().filter(|file| file.kind != NamedFileKind::Token);
        let files = files.map(|file| file.path.clone());
        watch.set_files(files.chain([path.to_owned()])).await.map_err(hung)?;
        let Loaded { settings, files, warnings, digest } = loaded;
        let contents = watch.contents().clone();
        let (kept, instruments) = (kept.to_vec(), instruments.clone());
        let make = move || {
            config::check_files(&files).map_err(wrong)?;
            Self::make(settings, &contents, &kept, &instruments)
        };
        let plan = lane.run(make).await.map_err(hung)??;
        for warning in &warnings {
            warn!(config = %path.display(), "{warning}");
        }
        Ok(Self { digest, ..plan })
    }

    /// What `settings` amount to; `contents` are those of the files they name.
    pub(super) fn make(
        settings: Settings,
        contents: &Contents,
        kept: &[Source],
        instruments: &Instruments,
    ) -> Result<Self, LoadError> {
        let cache = Arc::new(TokenCache::of(&settings.auth));
        // Before the sources: their first fetches begin when they are opened.
        let tracer = tracer(&settings.server, contents, &instruments.traces);
        let traces = instruments.traces.with_next(tracer.as_ref().ok().and_then(Option::as_ref));
        let observer: Arc<dyn FetchObserver> =
            Arc::new(Instruments { traces, ..instruments.clone() });
        let providers = providers::build(&settings.auth, contents, kept, &observer, &cache)?;
        let tls = settings.server.grpc.tls.as_ref().map(tls::read).transpose()?;
        let tracer = tracer?;
        let engine = Engine::new(&settings.auth, providers.list, cache);
        let (server, auth) = (settings.server, settings.auth);
        let sources = providers.sources;
        Ok(Self { server, auth, engine, sources, tls, tracer, digest: String::new() })
    }

    /// How many connections the service may open itself at a time: one for
    /// every issuer, custom provider and collector.
    pub(crate) fn outgoing_connections(&self) -> usize {
        let calls = |kind: &ProviderKind| !matches!(kind, ProviderKind::ApiKey(_));
        let providers = self.auth.providers.iter().filter(|provider| calls(&provider.kind));
        providers.count() + usize::from(self.server.tracing.is_some())
    }

    /// Waits until every issuer that is not in `kept` was asked for its keys,
    /// for a while.
    pub(crate) async fn settle(&self, kept: &[Source]) {
        let new = self.sources.iter().filter(|source| !kept.iter().any(|kept| kept.is(source)));
        let fetched = join_all(new.map(|source| source.keys.first_fetch_done()));
        if timeout(FIRST_FETCH_LIMIT, fetched).await.is_err() {
            warn!("not every new issuer has answered yet, going on without");
        }
    }

    fn snapshot(
        engine: Engine,
        tracer: Option<Arc<Tracer>>,
        server: &ServerSettings,
        instruments: &Instruments,
        board: &Board,
    ) -> Snapshot {
        let meters = CheckMeters::new(&instruments.metrics, &engine);
        let denials = board.denials(server);
        instruments.traces.take_up(tracer.clone());
        Snapshot { engine, meters, check_timeout: server.check_timeout, denials, tracer }
    }
}

/// Who records spans, if somebody shall; the same as before where nothing
/// about it has changed.
fn tracer(
    server: &ServerSettings,
    contents: &Contents,
    traces: &Traces,
) -> Result<Option<Arc<Tracer>>, traces::SetupError> {
    let Some(settings) = &server.tracing else { return Ok(None) };
    let roots = settings.ca_file.as_ref().and_then(|file| contents.get(file).copied().flatten());
    let (tracer, exporting) = match traces.current() {
        Some(tracer) if tracer.is_for(settings, roots) => return Ok(Some(tracer)),
        _ => Tracer::open(settings, roots)?,
    };
    tokio::spawn(exporting);
    Ok(Some(Arc::new(tracer)))
}

impl Site {
    /// Puts the first configuration in force.
    pub(crate) fn open(plan: Plan, instruments: Instruments, board: Arc<Board>) -> Self {
        let Plan { server, auth, engine, sources, tls, tracer, digest } = plan;
        let snapshot = Plan::snapshot(engine, tracer, &server, &instruments, &board);
        export_key_expiries(&instruments.metrics, &auth);
        instruments.metrics.config_loaded(UnixTime::now());
        board.take_up(in_force(&server, auth, &sources, digest));
        Self {
            config: ConfigHandle::new(snapshot),
            tls: Arc::new(tls.into()),
            bound: server.clone(),
            server,
            sources,
            instruments,
            board,
        }
    }

    /// Puts another configuration in force. Checks that have begun end by the
    /// one that they began with.
    pub(crate) fn install(&mut self, plan: Plan) {
        let Plan { server, auth, engine, sources, tls, tracer, digest } = plan;
        let snapshot = Plan::snapshot(engine, tracer, &server, &self.instruments, &self.board);
        self.config.store(snapshot);
        self.tls.store(tls);
        export_key_expiries(&self.instruments.metrics, &auth);
        self.board.take_up(in_force(&server, auth, &sources, digest));
        self.sources = sources;
        self.server = server;
        self.warn_of_restart();
        info!("configuration reloaded");
    }

    /// The signing keys of the providers that have any, by name.
    pub(crate) fn key_sources(&self) -> Vec<(String, Arc<KeySource>)> {
        by_provider(&self.sources)
    }

    /// What is bound stays bound.
    fn warn_of_restart(&self) {
        let (bound, wanted) = (&self.bound, &self.server);
        let changes = [
            ("server.grpc.address", bound.grpc.address != wanted.grpc.address),
            ("server.admin.address", bound.admin_address != wanted.admin_address),
            (
                "server.grpc.max_connections",
                bound.grpc.max_connections != wanted.grpc.max_connections,
            ),
            ("server.workers", bound.workers != wanted.workers),
        ];
        for (key, _) in changes.into_iter().filter(|(_, changed)| *changed) {
            warn!(key, "the change takes effect after a restart");
        }
    }
}

/// What the status page tells of a configuration.
fn in_force(
    server: &ServerSettings,
    auth: AuthSettings,
    sources: &[Source],
    digest: String,
) -> InForce {
    let sources = by_provider(sources);
    InForce { digest, since: UnixTime::now(), server: server.clone(), auth, sources }
}

fn by_provider(sources: &[Source]) -> Vec<(String, Arc<KeySource>)> {
    sources.iter().map(|source| (source.provider.clone(), Arc::clone(&source.keys))).collect()
}

fn export_key_expiries(metrics: &Metrics, auth: &AuthSettings) {
    metrics.set_key_expiries(auth.providers.iter().flat_map(|provider| {
        let keys = match &provider.kind {
            ProviderKind::ApiKey(keys) => keys.as_slice(),
            ProviderKind::OAuth2(_) | ProviderKind::Grpc(_) => &[],
        };
        keys.iter()
            .filter_map(|key| Some((provider.name.as_str(), key.name.as_str(), key.expires_at?)))
    }));
}
