//! The configurations of this process. Listeners and filters that name the
//! same one share its keys, its token cache and its counters.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, TryLockError, Weak},
};

use claimgate::{
    app::instruments::Instruments,
    metrics::{self, Metrics},
};
use claimgate_config::Loaded;
use claimgate_files::Contents;
use prometheus::proto::MetricFamily;
use tracing::warn;

use crate::{
    admin,
    background::Background,
    configuration::Configuration,
    load::{self, LoadError},
    open,
    options::FilterOptions,
};

/// The configurations in use.
static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { open: Vec::new(), background: Weak::new() });

struct Registry {
    open: Vec<(FilterOptions, Weak<Configuration>)>,
    background: Weak<Background>,
}

/// The configuration that `options` name, opened unless it is in use.
///
/// It is read in any case: what is wrong with it by now is an error, even if
/// an earlier version is in force.
pub(crate) fn open(
    options: FilterOptions,
    validating: bool,
) -> Result<Arc<Configuration>, LoadError> {
    let contents = options.content();
    let loaded = load::read(&options)?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    if validating {
        return try_out(loaded).map(Arc::new);
    }
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.open.retain(|(_, configuration)| configuration.strong_count() > 0);
    let found = registry.open.iter().find(|(name, _)| *name == options);
    if let Some(configuration) = found.and_then(|(_, configuration)| configuration.upgrade()) {
        return Ok(configuration);
    }
    if let Some(address) = admin::own_address(&loaded) {
        registry.free(address, &options)?;
    }
    let background = registry.background()?;
    let (name, metrics) = (options.clone(), new_metrics()?);
    let configuration = Configuration::open(name, contents, loaded, metrics, background)?;
    let configuration = Arc::new(configuration);
    registry.open.push((options, Arc::downgrade(&configuration)));
    Ok(configuration)
}

/// The metrics of every configuration that is in use; none while one is being
/// opened, which a request must not wait for.
pub(crate) fn metrics() -> Vec<Arc<[MetricFamily]>> {
    let registry = match REGISTRY.try_lock() {
        Ok(registry) => registry,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Vec::new(),
    };
    let open: Vec<_> = registry.open.iter().filter_map(|(_, it)| it.upgrade()).collect();
    // The last user of one may go meanwhile, and it ends here then.
    drop(registry);
    open.iter().map(|configuration| configuration.metrics()).collect()
}

impl Registry {
    /// Sees to it that no other configuration has its admin port at `address`.
    ///
    /// A configuration within Envoy's own is changed by another that takes its
    /// place, while the first still serves what it has begun: the port goes
    /// over to the new one.
    fn free(&self, address: &str, to: &FilterOptions) -> Result<(), LoadError> {
        for (name, other) in &self.open {
            let Some(other) = other.upgrade() else { continue };
            if other.admin_address() != Some(address) {
                continue;
            }
            match (name, to) {
                (FilterOptions::Inline(_), FilterOptions::Inline(_)) => other.close_admin_port(),
                _ => {
                    let (address, other) = (address.to_owned(), name.file_name().to_owned());
                    return Err(LoadError::AdminPortTaken { address, other });
                }
            }
        }
        Ok(())
    }

    /// The one background thread, started if there is none.
    fn background(&mut self) -> io::Result<Arc<Background>> {
        if let Some(background) = self.background.upgrade() {
            return Ok(background);
        }
        // An earlier one may be installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let background = Arc::new(Background::start()?);
        self.background = Arc::downgrade(&background);
        Ok(background)
    }
}

/// Sets up everything as in earnest; no thread is started and nothing fetched.
fn try_out(loaded: Loaded) -> Result<Configuration, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let instruments = Instruments::from(new_metrics()?);
    let contents = Contents::new();
    // The runtime never runs, so neither do the tasks that fetch.
    let opened = open::open(&loaded.settings, &contents, &[], &instruments, runtime.handle())?;
    Ok(Configuration::idle(opened, loaded, instruments))
}

fn new_metrics() -> Result<Metrics, metrics::MetricsError> {
    Metrics::new(env!("CARGO_PKG_VERSION"), admin::revision())
}
