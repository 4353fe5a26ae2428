//! A Claimgate configuration in force, which follows its files.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use claimgate::{
    app::watch::{Change, Contents, Watch},
    config::Loaded,
    metrics::{CheckMeters, Metrics},
    time::UnixTime,
};
use tokio::{task::JoinHandle, time::interval};
use tracing::{error, info, warn};

use crate::{
    background::Background,
    decide::Live,
    open::{self, ProviderError, Source},
    options::FilterOptions,
    registry::OpenError,
};

/// How often tokens that can't be used any more are dropped from memory.
const TIDY: Duration = Duration::from_secs(60);

/// What filters decide by. When the last of them is gone it ends, with its
/// tasks.
pub(crate) struct Configuration {
    live: Arc<ArcSwap<Live>>,
    tasks: Vec<JoinHandle<()>>,
    /// `None` where Envoy only validates.
    background: Option<Arc<Background>>,
}

impl Configuration {
    /// Puts `loaded`, which was read from `options`, in force. What it needs
    /// from the network is fetched from now on, and its files are watched.
    pub(crate) fn open(
        options: FilterOptions,
        loaded: Loaded,
        metrics: Metrics,
        background: Arc<Background>,
    ) -> Result<Self, ProviderError> {
        let runtime = background.handle();
        let contents = Contents::new();
        let check_timeout = loaded.settings.server.check_timeout;
        let (engine, sources) =
            open::engine(&loaded.settings.auth, &contents, &[], &metrics, runtime)?;
        let meters = CheckMeters::new(&metrics, &engine);
        let live = Live { engine, meters, check_timeout };
        metrics.config_loaded(UnixTime::now());
        let live = Arc::new(ArcSwap::from_pointee(live));
        let files = watched(&options, &loaded);
        let follow = Follower { options, metrics, live: Arc::clone(&live), sources };
        let tasks = vec![runtime.spawn(follow.run(files)), runtime.spawn(tidy(Arc::clone(&live)))];
        Ok(Self { live, tasks, background: Some(background) })
    }

    /// One that decides nothing: it was found good where Envoy only validates.
    pub(crate) fn idle(live: Live) -> Self {
        let live = Arc::new(ArcSwap::from_pointee(live));
        Self { live, tasks: Vec::new(), background: None }
    }

    /// What decides right now. A request keeps what it began with.
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// Runs a task on the background thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(background) = &self.background {
            background.handle().spawn(task);
        }
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
    let is_token = |kind| kind == claimgate::config::NamedFileKind::Token;
    let named = loaded.files.iter().filter(|file| !is_token(file.kind));
    named.map(|file| file.path.clone()).chain(own).collect()
}

async fn tidy(live: Arc<ArcSwap<Live>>) {
    let mut ticks = interval(TIDY);
    loop {
        ticks.tick().await;
        live.load().engine.memory().tidy(UnixTime::now());
    }
}

/// Puts every good change of a configuration's files in force.
struct Follower {
    options: FilterOptions,
    metrics: Metrics,
    live: Arc<ArcSwap<Live>>,
    sources: Vec<Source>,
}

impl Follower {
    async fn run(mut self, files: Vec<PathBuf>) {
        let mut watch = match Watch::new(files).await {
            Ok(watch) => watch,
            Err(error) => return warn!(%error, "the configuration's files can't be watched"),
        };
        let mut failure = None;
        loop {
            let change = watch.changed().await;
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

    async fn reload(&mut self, watch: &mut Watch) -> Result<(), OpenError> {
        let options = self.options.clone();
        // A mount that hangs holds up this thread of the pool alone.
        let read = tokio::task::spawn_blocking(move || crate::registry::read(&options));
        let loaded = read.await.map_err(|_| OpenError::Interrupted)??;
        watch
            .set_files(watched(&self.options, &loaded))
            .await
            .map_err(|hung| OpenError::Hung(hung.to_string()))?;
        let runtime = tokio::runtime::Handle::current();
        let auth = &loaded.settings.auth;
        let (engine, sources) =
            open::engine(auth, watch.contents(), &self.sources, &self.metrics, &runtime)?;
        let meters = CheckMeters::new(&self.metrics, &engine);
        let check_timeout = loaded.settings.server.check_timeout;
        self.live.store(Arc::new(Live { engine, meters, check_timeout }));
        self.sources = sources;
        Ok(())
    }
}
