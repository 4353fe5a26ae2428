//! The composition root: a config file becomes bound listeners, which are
//! served until the order to stop drains them.
//!
//! Two kinds of threads do the work. The *workers* decide checks and nothing
//! else. The *control* thread, that of whoever runs the [`App`], does the
//! rest: it accepts connections for the workers, answers the admin port,
//! fetches keys, watches files and takes signals. It may stall without a
//! check noticing.

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
    admin,
    check::ConfigHandle,
    envoy::{health, reflection, unfinished::Budget},
    metrics::Metrics,
    readiness::{Readiness, State},
    status::{self, Board},
    time::UnixTime,
};

pub mod connection;
mod doorway;
mod grpc;
mod instruments;
mod limits;
pub mod listen;
pub mod offline;
mod reload;
pub mod server;
pub mod signals;
mod site;
mod start_error;
pub mod tls;
pub mod watch;
pub mod workers;

pub use claimgate_remote::providers::ProviderError;
pub use offline::try_out;
pub use site::LoadError;
pub use start_error::StartError;

use grpc::Services;
use instruments::Instruments;
use limits::Connections;
use listen::{BoundAddress, Listener};
use reload::Reloader;
use server::{Drained, Server};
use signals::Order;
use site::{Plan, Site};
use watch::Watch;

/// How often tokens that can't be used any more are dropped from memory.
const TIDY: Duration = Duration::from_secs(60);

/// How often checks are counted for the status page.
const COUNTING: Duration = Duration::from_secs(1);

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In good order.
    Drained(Drained),
    /// At once, by a second order to stop.
    Interrupted,
}

/// The service, its listeners bound.
pub struct App {
    server: Server,
    admin: TcpListener,
    admin_address: SocketAddr,
    admin_connections: usize,
    health: health::HealthSwitch,
    reloader: Reloader,
}

impl App {
    /// Loads the config file at `path`, binds what it names and begins to
    /// fetch keys. Nothing is answered before [`App::run`].
    ///
    /// # Errors
    /// The configuration can't be used or an address can't be bound.
    pub async fn build(path: &Path) -> Result<Self, StartError> {
        let revision = option_env!("CLAIMGATE_REVISION").unwrap_or("unknown");
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), revision)?;
        let hung = |hung| LoadError::Hung { path: path.to_owned(), hung };
        let mut watch = Watch::new([path.to_owned()]).await.map_err(hung)?;
        let lane = Lane::default();
        let instruments = Instruments::from(metrics.clone());
        let plan = Plan::read(path, &mut watch, &[], &instruments, &lane).await?;

        let settings = &plan.server;
        let listener = Listener::bind("server.grpc.address", &settings.grpc.address).await?;
        let (admin, admin_address) =
            listen::bind_tcp("server.admin.address", &settings.admin_address).await?;
        let workers = settings.workers.unwrap_or_else(cores);

        let readiness = Readiness::default();
        let address = admin_address.ip();
        let board =
            Board::new(revision, path, address, workers, readiness.clone(), metrics.clone());
        let board = Arc::new(board);
        let outgoing = plan.outgoing_connections();
        let site = Site::open(plan, instruments, Arc::clone(&board));
        let (health, routes) = others().await?;
        let unfinished = Budget::default();
        let services = || Services::new(&site.config, routes(), unfinished.clone());
        let server = Server::start(listener, workers, &site.tls, services)?;
        let allowed = Connections::allowed(site.server.grpc.max_connections, outgoing);
        let server = server.bounded(allowed.grpc);

        let follower = readiness.follow(site.key_sources());
        info!(
            grpc = %server.address(),
            admin = %admin_address,
            workers,
            "listening"
        );
        let reloader = Reloader {
            path: path.into(),
            watch,
            lane,
            site,
            metrics,
            readiness,
            follower,
            failure: None,
            board,
        };
        Ok(Self {
            server,
            admin,
            admin_address,
            admin_connections: allowed.admin,
            health,
            reloader,
        })
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> &BoundAddress {
        self.server.address()
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until the order to stop, then drains. When nobody can give
    /// orders any more, that is an order to stop.
    pub async fn run(self, mut orders: mpsc::Receiver<Order>) -> Ended {
        let Self { server, admin, admin_connections, health, mut reloader, .. } = self;
        let readiness = reloader.readiness.clone();
        let _tasks = [
            Task::spawn(serve_admin(admin, admin_connections, &reloader)),
            Task::spawn(follow_readiness(readiness.clone(), health.clone())),
            Task::spawn(tidy(reloader.site.config.clone())),
            Task::spawn(count(Arc::clone(&reloader.board))),
        ];
        tokio::select! {
            never = server.accept() => match never {},
            () = reloader.run(&mut orders) => {}
        }
        let grace = reloader.site.server.shutdown_grace;
        let deadline = Instant::now() + grace;
        let traces = reloader.site.instruments.traces.clone();
        info!(?grace, "shutting down");
        readiness.drain();
        health.set_serving(false).await;
        tokio::select! {
            drained = drain(server, grace, traces.flush(deadline)) => Ended::Drained(drained),
            () = stop(&mut orders) => {
                warn!("told to stop again, ending at once");
                Ended::Interrupted
            }
        }
    }
}

/// The services beside the checks, once for each worker.
async fn others() -> Result<(health::HealthSwitch, impl Fn() -> Routes), StartError> {
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

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn serve_admin(
    listener: TcpListener,
    most: usize,
    reloader: &Reloader,
) -> impl Future<Output = ()> + Send + use<> {
    let metrics = reloader.metrics.clone();
    let config = reloader.site.config.clone();
    let render = move || {
        metrics.set_token_cache_entries(config.load().engine.token_cache().len());
        metrics.encode().unwrap_or_else(|error| {
            error!(%error, "metrics can't be rendered");
            String::new()
        })
    };
    let router = admin::router(reloader.readiness.clone(), render)
        .merge(status::http::router(Arc::clone(&reloader.board)));
    async move {
        let never = admin::serve(listener, router, most).await;
        match never {}
    }
}

/// Tells the health service what the admin port says.
async fn follow_readiness(readiness: Readiness, health: health::HealthSwitch) {
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

async fn tidy(config: ConfigHandle) {
    let mut ticks = interval(TIDY);
    loop {
        ticks.tick().await;
        config.load().engine.token_cache().tidy(UnixTime::now());
    }
}

/// Keeps the status page's history.
async fn count(board: Arc<Board>) {
    let mut ticks = interval(COUNTING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        board.count();
    }
}

/// Ends the server, and sends the spans of its last requests.
async fn drain(server: Server, grace: Duration, flush: impl Future<Output = ()>) -> Drained {
    let drained = server.drain(grace).await;
    flush.await;
    drained
}

/// Waits for the order to stop.
async fn stop(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Stop) => return,
            Some(Order::Reload) => {}
            None => std::future::pending().await,
        }
    }
}

/// A task that ends when this is dropped.
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
