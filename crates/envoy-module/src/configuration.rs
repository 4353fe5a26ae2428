//! A Claimgate configuration in force, which follows its files.

use std::{mem, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::Guard;
use claimgate::{
    app::watch::{Change, FileWatch},
    check::{ConfigHandle, Snapshot},
    metrics::{CheckMeters, Metrics},
};
use claimgate_config::{Loaded, NamedFileKind};
use claimgate_core::{Engine, time::UnixTime};
use claimgate_files::{Contents, content_of};
use claimgate_remote::providers::{ProviderError, Source};
use tokio::{task::JoinHandle, time::interval};
use tracing::{error, info, warn};

use crate::{
    abi::Statistics,
    background::Background,
    load::{self, LoadError},
    open,
    options::FilterOptions,
    stats::{Carried, Gathered, Stats},
};

/// How often tokens that can't be used any more are dropped from memory.
const TIDY: Duration = Duration::from_secs(60);

/// What filters decide by. When the last of them is gone it ends, with its
/// tasks.
pub(crate) struct Configuration {
    config: ConfigHandle,
    metrics: Metrics,
    gathered: Gathered,
    carried: Carried,
    tasks: Vec<JoinHandle<()>>,
    /// `None` where Envoy only validates.
    background: Option<Arc<Background>>,
}

impl Configuration {
    /// Puts `loaded`, which was read from `options`, in force. What it needs
    /// from the network is fetched from now on, and its files are watched for
    /// what differs from `contents`.
    pub(crate) fn open(
        options: FilterOptions,
        mut contents: Contents,
        loaded: Loaded,
        metrics: Metrics,
        background: Arc<Background>,
    ) -> Result<Self, ProviderError> {
        let runtime = background.handle();
        for file in watched(&options, &loaded) {
            contents.entry(file).or_insert_with_key(|file| content_of(file));
        }
        let (engine, sources) =
            open::engine(&loaded.settings.auth, &contents, &[], &metrics, runtime)?;
        let config = ConfigHandle::new(snapshot(engine, &loaded, &metrics));
        metrics.config_loaded(UnixTime::now());
        let mut tasks = vec![runtime.spawn(tidy(config.clone()))];
        // What names no file needs no thread of the system's watcher.
        if !contents.is_empty() {
            let (metrics, config) = (metrics.clone(), config.clone());
            let follower = Follower { options, metrics, config, sources };
            tasks.push(runtime.spawn(follower.run(contents)));
        }
        let (gathered, carried) = (Gathered::default(), Carried::default());
        Ok(Self { config, metrics, gathered, carried, tasks, background: Some(background) })
    }

    /// One that decides nothing: it was found good where Envoy only validates.
    pub(crate) fn idle(engine: Engine, loaded: &Loaded, metrics: Metrics) -> Self {
        let config = ConfigHandle::new(snapshot(engine, loaded, &metrics));
        let (gathered, carried) = (Gathered::default(), Carried::default());
        Self { config, metrics, gathered, carried, tasks: Vec::new(), background: None }
    }

    /// What decides right now. A request keeps what it began with.
    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.config.load()
    }

    /// Runs the task that `make` makes on the background thread; there is none
    /// where Envoy only validates.
    pub(crate) fn spawn_with<T: Future<Output = ()> + Send + 'static>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Option<JoinHandle<()>> {
        self.background.as_ref().map(|background| background.handle().spawn(make()))
    }

    /// Carries the metrics over to Envoy's statistics.
    pub(crate) fn carry_over(&self, stats: &Stats, to: &impl Statistics) {
        self.metrics.set_token_cache_entries(self.snapshot().engine.token_cache().len());
        stats.carry_over(&self.gathered.of(&self.metrics), &self.carried, to);
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The files whose change is a new configuration. Tokens for fetches are read
/// each time, so a new one changes nothing.
fn watched(options: &FilterOptions, loaded: &Loaded) -> Vec<PathBuf> {
    let own = match options {
        FilterOptions::File(path) => Some(path.clone()),
        FilterOptions::Inline(_) => None,
    };
    let is_token = |kind| kind == NamedFileKind::Token;
    let named = loaded.files.iter().filter(|file| !is_token(file.kind));
    named.map(|file| file.path.clone()).chain(own).collect()
}

fn snapshot(engine: Engine, loaded: &Loaded, metrics: &Metrics) -> Snapshot {
    let meters = CheckMeters::new(metrics, &engine);
    let check_timeout = loaded.settings.server.check_timeout;
    Snapshot { engine, meters, check_timeout, denials: None, tracer: None }
}

async fn tidy(config: ConfigHandle) {
    let mut ticks = interval(TIDY);
    loop {
        ticks.tick().await;
        config.load().engine.token_cache().tidy(UnixTime::now());
    }
}

/// Puts every good change of a configuration's files in force.
struct Follower {
    options: FilterOptions,
    metrics: Metrics,
    config: ConfigHandle,
    sources: Vec<Source>,
}

impl Follower {
    async fn run(mut self, contents: Contents) {
        let mut watch = match FileWatch::new(contents.keys().cloned()).await {
            Ok(watch) => watch,
            Err(error) => return warn!(%error, "the configuration's files can't be watched"),
        };
        let mut failure = None;
        // What was read may have changed before it was watched.
        let mut is_behind = *watch.contents() != contents;
        loop {
            let change = match mem::take(&mut is_behind) {
                true => Change::Content,
                false => watch.changed().await,
            };
            if change == Change::Nothing && failure.is_none() {
                continue;
            }
            match self.reload(&mut watch).await {
                Ok(()) => {
                    info!("configuration reloaded");
                    failure = None;
                    self.metrics.config_reloaded(true, UnixTime::now());
                }
                Err(error) => {
                    let error = error.to_string();
                    // A retry that fails the same way is not news.
                    if change == Change::Nothing && failure.as_ref() == Some(&error) {
                        continue;
                    }
                    error!(error, "configuration not reloaded, the old one stays in force");
                    failure = Some(error);
                    self.metrics.config_reloaded(false, UnixTime::now());
                }
            }
        }
    }

    async fn reload(&mut self, watch: &mut FileWatch) -> Result<(), LoadError> {
        let options = self.options.clone();
        // A mount that hangs holds up this thread of the pool alone.
        let read = tokio::task::spawn_blocking(move || load::read(&options));
        let loaded = read.await.map_err(|_| LoadError::Interrupted)??;
        watch.set_files(watched(&self.options, &loaded)).await?;
        let runtime = tokio::runtime::Handle::current();
        let auth = &loaded.settings.auth;
        let (engine, sources) =
            open::engine(auth, watch.contents(), &self.sources, &self.metrics, &runtime)?;
        self.config.store(snapshot(engine, &loaded, &self.metrics));
        self.sources = sources;
        Ok(())
    }
}
