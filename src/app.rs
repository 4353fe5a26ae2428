//! The composition root: a config file becomes bound listeners, which are
//! served until the command to stop, then drained.
//!
//! There are two kinds of threads. The *workers* decide checks and nothing
//! else. The *control* thread, on which [`App::run`] is polled, does the rest:
//! it accepts connections for the workers, serves the admin port, fetches keys,
//! watches files and handles signals. It may stall without delaying a check.
//!
//! A configuration goes through four types: [`config::Loaded`] is read from the
//! file, `Candidate` is built from it, `ActiveConfig` is what the control thread
//! keeps of the active one, and [`Snapshot`] is the part of it that checks read
//! through their [`ConfigHandle`].
//!
//! [`config::Loaded`]: crate::config::Loaded
//! [`Snapshot`]: crate::check::Snapshot

use std::{net::SocketAddr, num::NonZeroUsize, path::Path, sync::Arc, thread, time::Duration};

use claimgate_files::Lane;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::service::Routes;
use tracing::{error, info, warn};

use crate::{
    admin, build,
    check::ConfigHandle,
    envoy::{health, reflection, unfinished::Budget},
    metrics::Metrics,
    readiness::{Readiness, State},
    status::{self, StatusPage},
    time::UnixTime,
};

mod active;
mod candidate;
pub mod changes;
pub mod connection;
pub mod connection_age;
mod connection_limit;
mod descriptors;
mod grpc;
pub mod instruments;
pub mod listen;
pub mod offline;
mod reload;
pub mod server;
pub mod signals;
mod start_error;
pub mod tls;
pub mod watch;
pub mod workers;

pub use candidate::LoadError;
pub use claimgate_remote::providers::ProviderError;
pub use offline::dry_run;
pub use start_error::StartError;

use active::ActiveConfig;
use candidate::Candidate;
use connection_age::MaxAge;
use descriptors::ConnectionLimits;
use grpc::Services;
use instruments::Instruments;
use listen::{BoundAddress, Listener};
use reload::Reloader;
use server::{Drained, Server};
use signals::Command;
use watch::FileWatch;

/// How often expired entries are evicted from the token cache.
const EVICTION_INTERVAL: Duration = Duration::from_secs(60);

/// How often the status page's history is updated.
const HISTORY_INTERVAL: Duration = Duration::from_secs(1);

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After a drain.
    Drained(Drained),
    /// At once, by a second command to stop.
    Interrupted,
}

/// The service, its listeners bound.
pub struct App {
    server: Server,
    admin: TcpListener,
    admin_address: SocketAddr,
    max_admin_connections: usize,
    health: health::HealthSwitch,
    reloader: Reloader,
}

impl App {
    /// Loads the config file at `path`, binds its addresses and begins to fetch
    /// keys. Nothing is served before [`App::run`].
    ///
    /// # Errors
    /// The configuration can't be used or an address can't be bound.
    pub async fn build(path: &Path) -> Result<Self, StartError> {
        let revision = build::REVISION;
        let metrics = Metrics::new(build::VERSION, revision)?;
        let hung = |hung| LoadError::Hung { path: path.to_owned(), hung };
        let mut watch = FileWatch::new([path.to_owned()]).await.map_err(hung)?;
        let lane = Lane::default();
        let instruments = Instruments::from(metrics.clone());
        let candidate = Candidate::read(path, &mut watch, &[], &instruments, &lane).await?;

        let settings = &candidate.server;
        let listener = Listener::bind("server.grpc.address", &settings.grpc.address).await?;
        let (admin, admin_address) =
            listen::bind_tcp("server.admin.address", &settings.admin_address).await?;
        let workers = settings.workers.unwrap_or_else(available_cores);

        let readiness = Readiness::default();
        let address = admin_address.ip();
        let status_page =
            StatusPage::new(revision, path, address, workers, readiness.clone(), metrics.clone());
        let status_page = Arc::new(status_page);
        let outgoing = candidate.outgoing_connections();
        let active = ActiveConfig::start(candidate, instruments, Arc::clone(&status_page));
        let (health, routes) = other_services().await?;
        let unfinished = Budget::default();
        let services = || Services::new(&active.handle, routes(), unfinished.clone());
        let max_age = MaxAge::new(active.server.grpc.max_connection_age);
        let server = Server::start(listener, workers, &active.tls, max_age, services)?;
        let limits = ConnectionLimits::allowed(active.server.grpc.max_connections, outgoing);
        let server = server.with_max_connections(limits.grpc);

        let readiness_task = readiness.track(active.key_sources());
        info!(
            grpc = %server.address(),
            admin = %admin_address,
            workers,
            "listening"
        );
        if status_page.is_on(&active.server) {
            info!(url = %format_args!("http://{admin_address}/"), "status page is on");
        }
        let reloader = Reloader {
            path: path.into(),
            watch,
            lane,
            active,
            metrics,
            readiness,
            readiness_task,
            failure: None,
            status_page,
        };
        Ok(Self {
            server,
            admin,
            admin_address,
            max_admin_connections: limits.admin,
            health,
            reloader,
        })
    }

    /// The address of the gRPC listener.
    pub fn grpc_address(&self) -> &BoundAddress {
        self.server.address()
    }

    /// The address of the admin port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until the command to stop, then drains. Dropping the sender of
    /// `commands` stops it as well.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) -> Ended {
        let Self { server, admin, max_admin_connections, health, mut reloader, .. } = self;
        let readiness = reloader.readiness.clone();
        let _tasks = [
            Task::spawn(serve_admin(admin, max_admin_connections, &reloader)),
            Task::spawn(update_health(readiness.clone(), health.clone())),
            Task::spawn(evict_expired_tokens(reloader.active.handle.clone())),
            Task::spawn(update_history(Arc::clone(&reloader.status_page))),
        ];
        tokio::select! {
            never = server.accept() => match never {},
            () = reloader.run(&mut commands) => {}
        }
        let grace = reloader.active.server.shutdown_grace;
        let deadline = Instant::now() + grace;
        let tracer = reloader.active.instruments.tracer.clone();
        info!(?grace, "shutting down");
        readiness.drain();
        health.set_serving(false).await;
        tokio::select! {
            drained = drain(server, grace, tracer.flush(deadline)) => Ended::Drained(drained),
            () = wait_for_stop(&mut commands) => {
                warn!("told to stop again, ending at once");
                Ended::Interrupted
            }
        }
    }
}

/// The services other than checks, to be made once for each worker.
async fn other_services() -> Result<(health::HealthSwitch, impl Fn() -> Routes), StartError> {
    let (switch, health) = health::health().await;
    let reflection = reflection::reflection()?;
    let reflection_alpha = reflection::reflection_alpha()?;
    let routes = move || {
        Routes::new(health.clone())
            .add_service(reflection.clone())
            .add_service(reflection_alpha.clone())
    };
    Ok((switch, routes))
}

fn available_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn serve_admin(
    listener: TcpListener,
    max_connections: usize,
    reloader: &Reloader,
) -> impl Future<Output = ()> + Send + use<> {
    let metrics = reloader.metrics.clone();
    let config = reloader.active.handle.clone();
    let render = move || {
        metrics.observe(&config.load().engine);
        metrics.encode().unwrap_or_else(|error| {
            error!(%error, "metrics can't be rendered");
            String::new()
        })
    };
    let router = admin::router(reloader.readiness.clone(), render)
        .merge(status::http::router(Arc::clone(&reloader.status_page)));
    async move {
        let never = admin::serve(listener, router, max_connections).await;
        match never {}
    }
}

/// Keeps the health service's status equal to the readiness.
async fn update_health(readiness: Readiness, health: health::HealthSwitch) {
    let mut states = readiness.subscribe();
    loop {
        let is_ready = *states.borrow_and_update() == State::Ready;
        if is_ready {
            info!("ready");
        }
        health.set_serving(is_ready).await;
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn evict_expired_tokens(config: ConfigHandle) {
    let mut ticks = interval(EVICTION_INTERVAL);
    loop {
        ticks.tick().await;
        config.load().engine.token_cache().tidy(UnixTime::now());
    }
}

/// Updates the status page's history periodically.
async fn update_history(status_page: Arc<StatusPage>) {
    let mut ticks = interval(HISTORY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        status_page.update_history();
    }
}

/// Drains the server, then sends the spans of its last requests.
async fn drain(server: Server, grace: Duration, flush: impl Future<Output = ()>) -> Drained {
    let drained = server.drain(grace).await;
    flush.await;
    drained
}

/// Waits for the command to stop.
async fn wait_for_stop(commands: &mut mpsc::Receiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Stop) => return,
            Some(Command::Reload) => {}
            None => std::future::pending().await,
        }
    }
}

/// A task that is aborted when this is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
