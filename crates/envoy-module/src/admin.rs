//! The admin port: as the service has it, opened where the configuration names
//! an address for it.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use claimgate::{
    admin,
    app::listen::{self, BindError},
    check::ConfigHandle,
    metrics::Metrics,
    readiness::Readiness,
    status::{self, StatusPage},
};
use claimgate_config::Loaded;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info};

use crate::options::FilterOptions;

/// How many connections it has at a time.
const CONNECTIONS: usize = 256;

/// How often checks are counted for the status page.
const COUNTING: Duration = Duration::from_secs(1);

/// The port, bound.
pub(crate) struct AdminPort {
    listener: TcpListener,
    /// What the status page shows.
    pub(crate) status: Arc<StatusPage>,
    pub(crate) readiness: Readiness,
}

impl AdminPort {
    /// Binds the port that the configuration names, if it names one.
    ///
    /// It must not be called on a thread of `runtime`.
    pub(crate) fn bind(
        loaded: &Loaded,
        options: &FilterOptions,
        metrics: &Metrics,
        runtime: &Handle,
    ) -> Result<Option<Self>, BindError> {
        if !loaded.names_admin_address {
            return Ok(None);
        }
        let wanted = &loaded.settings.server.admin_address;
        let bind = listen::bind_tcp("server.admin.address", wanted);
        let (listener, address): (_, SocketAddr) = runtime.block_on(bind)?;
        info!(%address, "the admin port is open");
        let readiness = Readiness::default();
        // Each of Envoy's workers decides, and so does the background thread.
        let deciding = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let deciding = deciding.saturating_add(1);
        let (ip, name) = (address.ip(), options.file_name());
        let status =
            StatusPage::new(revision(), name, ip, deciding, readiness.clone(), metrics.clone());
        Ok(Some(Self { listener, status: Arc::new(status), readiness }))
    }

    /// Answers, for good.
    pub(crate) async fn serve(self, config: ConfigHandle, metrics: Metrics) {
        let render = move || {
            metrics.observe(&config.load().engine);
            metrics.encode().unwrap_or_else(|error| {
                error!(%error, "metrics can't be rendered");
                String::new()
            })
        };
        let pages = status::http::router(Arc::clone(&self.status));
        let router = admin::router(self.readiness, render).merge(pages);
        tokio::select! {
            never = admin::serve(self.listener, router, CONNECTIONS) => match never {},
            () = count(self.status) => {}
        }
    }
}

/// The source revision that this was built from.
pub(crate) fn revision() -> &'static str {
    claimgate::build::REVISION
}

/// Where the admin port is to be, unless the system chooses.
pub(crate) fn own_address(loaded: &Loaded) -> Option<&str> {
    let address = loaded.settings.server.admin_address.as_str();
    (loaded.names_admin_address && !address.ends_with(":0")).then_some(address)
}

/// Keeps the status page's history.
async fn count(status: Arc<StatusPage>) {
    let mut ticks = interval(COUNTING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        status.update_history();
    }
}
