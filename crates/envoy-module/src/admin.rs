//! The admin port: as the service has it, opened where the configuration names
//! an address for it.

use std::{
    env, ffi::OsString, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread, time::Duration,
};

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
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info};

use crate::options::FilterOptions;

/// How many connections it has at a time.
const CONNECTIONS: usize = 256;

/// How often checks are counted for the status page.
const COUNTING: Duration = Duration::from_secs(1);

/// How often a port is tried that an earlier Envoy still holds.
const RETRY: Duration = Duration::from_millis(500);

/// The key path of the address.
const KEY: &str = "server.admin.address";

/// The port.
pub(crate) struct AdminPort {
    listener: Listener,
    /// What the status page shows.
    pub(crate) status: Arc<StatusPage>,
    pub(crate) readiness: Readiness,
}

enum Listener {
    Bound(TcpListener),
    /// The Envoy that this one replaces by a hot restart holds it until it ends.
    Awaited(SocketAddr),
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
        let bound: Result<(_, SocketAddr), _> = runtime.block_on(listen::bind_tcp(KEY, wanted));
        let (listener, address) = match (bound, wanted.parse()) {
            (Ok((listener, address)), _) => {
                told_open(address);
                (Listener::Bound(listener), address)
            }
            (Err(BindError::InUse { .. }), Ok(address)) if is_hot_restart(env::args_os()) => {
                info!(%address, "the admin port is opened when the Envoy before this one ends");
                (Listener::Awaited(address), address)
            }
            (Err(error), _) => return Err(error),
        };
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
        let listener = match self.listener {
            Listener::Bound(listener) => listener,
            Listener::Awaited(address) => once_free(address).await,
        };
        let pages = status::http::router(Arc::clone(&self.status));
        let router = admin::router(self.readiness, render).merge(pages);
        tokio::select! {
            never = admin::serve(listener, router, CONNECTIONS) => match never {},
            () = count(self.status) => {}
        }
    }
}

fn told_open(address: SocketAddr) {
    info!(%address, "the admin port is open");
}

async fn once_free(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok((listener, address)) = listen::bind_tcp(KEY, &address.to_string()).await {
            told_open(address);
            return listener;
        }
        sleep(RETRY).await;
    }
}

/// Whether Envoy was started with these arguments to take the place of another
/// that still runs.
fn is_hot_restart(arguments: impl Iterator<Item = OsString>) -> bool {
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let option = |argument: &String| argument.starts_with("--restart-epoch");
    let Some(found) = arguments.find(option) else { return false };
    let epoch = found.split_once('=').map(|(_, epoch)| epoch.to_owned());
    let epoch = epoch.or_else(|| arguments.next());
    epoch.is_some_and(|epoch| epoch.parse::<u64>().is_ok_and(|epoch| epoch > 0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_restart_is_told_by_envoys_arguments() {
        let cases = [
            ("envoy", false),
            ("envoy --restart-epoch 0 --base-id 1", false),
            ("envoy --restart-epoch=0", false),
            ("envoy --restart-epoch", false),
            ("envoy --restart-epoch 1", true),
            ("envoy --base-id 1 --restart-epoch=12", true),
        ];
        for (arguments, expected) in cases {
            let arguments = arguments.split(' ').map(OsString::from);
            assert_eq!(is_hot_restart(arguments.clone()), expected, "{arguments:?}");
        }
    }
}
