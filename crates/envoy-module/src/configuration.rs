//! A Claimgate configuration in force, which follows its files.

use std::{
    mem,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::Guard;
use claimgate::{
    app::{
        changes::changes,
        instruments::Instruments,
        watch::{Change, FileWatch},
    },
    check::{ConfigHandle, Snapshot},
    metrics::{CheckMeters, Metrics},
    readiness::{Readiness, ReadinessTask},
    status::{ConfigInfo, StatusPage},
};
use claimgate_config::{Loaded, NamedFileKind, settings::Settings};
use claimgate_core::time::UnixTime;
use claimgate_files::{Contents, content_of};
use claimgate_remote::providers::{self, Source};
use prometheus::proto::MetricFamily;
use tokio::{runtime::Handle, task::JoinHandle, time::interval};
use tracing::{error, info, warn};

use crate::{
    abi::Statistics,
    admin::{self, AdminPort},
    background::Background,
    load::{self, LoadError},
    open::{self, Opened},
    options::FilterOptions,
    stats::{Carried, Gathered, Stats},
};

/// How often tokens that can't be used any more are dropped from memory.
const TIDY: Duration = Duration::from_secs(60);

/// What filters decide by. When the last of them is gone it ends, with its
/// tasks.
pub(crate) struct Configuration {
    config: ConfigHandle,
    instruments: Instruments,
    gathered: Gathered,
    carried: Carried,
    tasks: Vec<JoinHandle<()>>,
    admin: Option<Admin>,
    /// `None` where Envoy only validates.
    background: Option<Arc<Background>>,
}

/// The admin port as it was opened.
struct Admin {
    /// As configured, if that is one place.
    address: Option<String>,
    serving: Mutex<Option<JoinHandle<()>>>,
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
    ) -> Result<Self, LoadError> {
        let runtime = background.handle();
        for file in watched(&options, &loaded) {
            contents.entry(file).or_insert_with_key(|file| content_of(file));
        }
        let port = AdminPort::bind(&loaded, &options, &metrics, runtime)?;
        let instruments = Instruments::from(metrics);
        let opened = open::open(&loaded.settings, &contents, &[], &instruments, runtime)?;
        let sources = opened.sources.clone();
        let page = port.as_ref().map(|port| Page::of(port, runtime));
        let address = admin::own_address(&loaded).map(str::to_owned);
        let mut room = Room { instruments: instruments.clone(), page, settings: None };
        let config = ConfigHandle::new(room.snapshot(opened, loaded));
        instruments.metrics.config_loaded(UnixTime::now());
        let admin = port.map(|port| {
            let serve = port.serve(config.clone(), instruments.metrics.clone());
            Admin { address, serving: Mutex::new(Some(runtime.spawn(serve))) }
        });
        let mut tasks = vec![runtime.spawn(tidy(config.clone()))];
        // What names no file needs no thread of the system's watcher.
        let follower = Follower { options, room, config: config.clone(), sources };
        tasks.push(match contents.is_empty() {
            false => runtime.spawn(follower.run(contents)),
            true => runtime.spawn(follower.rest()),
        });
        let (gathered, carried) = (Gathered::default(), Carried::default());
        let background = Some(background);
        Ok(Self { config, instruments, gathered, carried, tasks, admin, background })
    }

    /// One that decides nothing: it was found good where Envoy only validates.
    pub(crate) fn idle(opened: Opened, loaded: Loaded, instruments: Instruments) -> Self {
        let mut room = Room { instruments: instruments.clone(), page: None, settings: None };
        let config = ConfigHandle::new(room.snapshot(opened, loaded));
        let (gathered, carried) = (Gathered::default(), Carried::default());
        let (tasks, admin, background) = (Vec::new(), None, None);
        Self { config, instruments, gathered, carried, tasks, admin, background }
    }

    /// Where its admin port is, if it has one at a place of its own.
    pub(crate) fn admin_address(&self) -> Option<&str> {
        let admin = self.admin.as_ref()?;
        let serving = admin.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.as_ref().and(admin.address.as_deref())
    }

    /// Closes its admin port, for good. When this returns, the address is free.
    pub(crate) fn close_admin_port(&self) {
        let (Some(admin), Some(background)) = (&self.admin, &self.background) else { return };
        let serving = admin.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving {
            serving.abort();
            // An error says that it was cancelled.
            let _ = background.handle().block_on(serving);
        }
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

    /// Carries what was counted over to Envoy's statistics.
    pub(crate) fn carry_over(&self, stats: &Stats, to: &impl Statistics) {
        stats.carry_over(&self.metrics(), &self.carried, to);
    }

    /// Its metrics, as they were a moment ago at the most.
    pub(crate) fn metrics(&self) -> Arc<[MetricFamily]> {
        let metrics = &self.instruments.metrics;
        metrics.observe(&self.snapshot().engine);
        self.gathered.of(metrics)
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.close_admin_port();
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

/// Where one configuration after the other is recorded.
struct Room {
    instruments: Instruments,
    page: Option<Page>,
    /// Those in force, to say what the next ones change.
    settings: Option<Settings>,
}

/// What the admin port shows.
struct Page {
    status: Arc<StatusPage>,
    readiness: Readiness,
    runtime: Handle,
    waiting: Option<ReadinessTask>,
}

impl Page {
    fn of(port: &AdminPort, runtime: &Handle) -> Self {
        Self {
            status: Arc::clone(&port.status),
            readiness: port.readiness.clone(),
            runtime: runtime.clone(),
            waiting: None,
        }
    }

    fn take_up(&mut self, config: ConfigInfo) {
        let _inside = self.runtime.enter();
        self.waiting = Some(self.readiness.track(config.sources.clone()));
        self.status.set_config(config);
    }
}

impl Room {
    /// What checks are decided with from now on.
    fn snapshot(&mut self, opened: Opened, loaded: Loaded) -> Snapshot {
        let Opened { engine, sources, tracer } = opened;
        let Settings { server, auth } = loaded.settings;
        let metrics = &self.instruments.metrics;
        let meters = CheckMeters::new(metrics, &engine);
        metrics.export_key_expiries(&auth);
        providers::adopt(&sources, &self.instruments);
        self.instruments.tracer.store(tracer.clone());
        let check_timeout = server.check_timeout;
        let denials = self.page.as_ref().and_then(|page| page.status.denials(&server));
        if let Some(page) = &mut self.page {
            let named = |source: &Source| (source.provider.clone(), Arc::clone(&source.keys));
            let sources = sources.iter().map(named).collect();
            let Loaded { digest, warnings, .. } = loaded;
            let since = UnixTime::now();
            let (server, auth) = (server.clone(), auth.clone());
            let budgets = engine.budgets().cloned();
            page.take_up(ConfigInfo { digest, since, warnings, server, auth, sources, budgets });
        }
        self.settings = Some(Settings { server, auth });
        Snapshot { engine, meters, check_timeout, denials, tracer }
    }

    fn failed(&self, error: &str) {
        self.instruments.metrics.config_reloaded(false, UnixTime::now());
        if let Some(page) = &self.page {
            page.status.reload_failed(error);
        }
    }
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
    room: Room,
    config: ConfigHandle,
    sources: Vec<Source>,
}

impl Follower {
    /// Without a file to follow it keeps what it holds.
    async fn rest(self) {
        let _kept = self;
        std::future::pending().await
    }

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
                Ok(changes) => {
                    info!(changes, "configuration reloaded");
                    failure = None;
                    self.room.instruments.metrics.config_reloaded(true, UnixTime::now());
                }
                Err(error) => {
                    let error = error.to_string();
                    // A retry that fails the same way is not news.
                    if change == Change::Nothing && failure.as_ref() == Some(&error) {
                        continue;
                    }
                    error!(error, "configuration not reloaded, the old one stays in force");
                    self.room.failed(&error);
                    failure = Some(error);
                }
            }
        }
    }

    /// What it changed, in words.
    async fn reload(&mut self, watch: &mut FileWatch) -> Result<String, LoadError> {
        let options = self.options.clone();
        // A mount that hangs holds up this thread of the pool alone.
        let read = tokio::task::spawn_blocking(move || load::read(&options));
        let loaded = read.await.map_err(|_| LoadError::Interrupted)??;
        watch.set_files(watched(&self.options, &loaded)).await?;
        let runtime = tokio::runtime::Handle::current();
        let instruments = &self.room.instruments;
        let kept = &self.sources;
        let settings = &loaded.settings;
        let opened = open::open(settings, watch.contents(), kept, instruments, &runtime)?;
        providers::wait_for_keys(&opened.sources, kept).await;
        let engine = opened.engine.keeping_budgets(&self.config.load().engine);
        let opened = Opened { engine, ..opened };
        self.sources = opened.sources.clone();
        let old = self.room.settings.take();
        self.config.store(self.room.snapshot(opened, loaded));
        let both = old.as_ref().zip(self.room.settings.as_ref());
        let told = |(old, new): (&Settings, &Settings)| {
            changes((&old.server, &old.auth), (&new.server, &new.auth))
        };
        Ok(both.map(told).unwrap_or_default())
    }
}
