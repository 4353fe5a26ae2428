//! The status page: the state of the service and the requests it denied, for
//! operators who have to find out why.
//!
//! A [`StatusPage`] collects the data: from the metrics, the key sources, the
//! active configuration, and the log of denials that the workers fill
//! ([`denials`]). Each request for the page gets a [`report::Report`] of the
//! moment, as JSON or as HTML. The control thread makes it on demand; a decision
//! pays for recording a denial, and for nothing where the page is off.

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::Finding,
    limits::Counters,
    metrics::Metrics,
    provider::oauth2::key_source::KeySource,
    readiness::Readiness,
    settings::{AuthSettings, ServerSettings},
    time::UnixTime,
};

mod chart;
pub mod denials;
mod filter;
pub mod history;
pub mod http;
mod page;
pub mod report;
pub(crate) mod requirement;
pub(crate) mod text;

use denials::DenialLog;
use history::History;

/// The address of the documentation, for links.
pub const DOCUMENTATION: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs");

/// Collects what the status page shows.
pub struct StatusPage {
    revision: &'static str,
    config_path: PathBuf,
    address: IpAddr,
    readiness: Readiness,
    metrics: Metrics,
    denials: Arc<DenialLog>,
    started: UnixTime,
    state: Mutex<State>,
}

struct State {
    config: Option<Arc<ConfigInfo>>,
    failure: Option<Failure>,
    history: History,
}

/// What the status page shows of the active configuration.
pub struct ConfigInfo {
    /// The digest of its file; see [`crate::config::Loaded::digest`].
    pub digest: String,
    /// When it became active.
    pub since: UnixTime,
    /// What its author may not have intended.
    pub warnings: Vec<Finding>,
    /// The `server` block.
    pub server: ServerSettings,
    /// The `auth` block.
    pub auth: AuthSettings,
    /// The signing keys of the providers that have any, by name.
    pub sources: Vec<(String, Arc<KeySource>)>,
    /// The budgets of callers, where there are plans.
    pub budgets: Option<Arc<Counters>>,
}

/// A reload that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it failed.
    pub at: UnixTime,
    /// Why.
    pub error: String,
}

impl StatusPage {
    /// The page of the service whose config file is at `config`, whose admin
    /// port is bound to `address`, and which has so many workers.
    pub fn new(
        revision: &'static str,
        config: &Path,
        address: IpAddr,
        workers: NonZeroUsize,
        readiness: Readiness,
        metrics: Metrics,
    ) -> Self {
        let started = UnixTime::now();
        let history = History::new(started, metrics.totals());
        Self {
            revision,
            config_path: config.to_owned(),
            address: address.to_canonical(),
            readiness,
            metrics,
            denials: Arc::new(DenialLog::new(workers)),
            started,
            state: Mutex::new(State { config: None, failure: None, history }),
        }
    }

    /// The log of denials, if the page is on under these settings.
    pub fn denials(&self, settings: &ServerSettings) -> Option<Arc<DenialLog>> {
        self.is_on(settings).then(|| Arc::clone(&self.denials))
    }

    /// Sets the active configuration.
    pub fn set_config(&self, config: ConfigInfo) {
        if !self.is_on(&config.server) {
            self.denials.clear();
        }
        let totals = self.metrics.totals();
        let mut state = self.state();
        // The history was not updated while the page was off.
        if !state.config.as_ref().is_some_and(|before| self.is_on(&before.server)) {
            state.history = History::new(config.since, totals);
        }
        state.config = Some(Arc::new(config));
        state.failure = None;
    }

    /// Sets the error of a failed reload.
    pub fn reload_failed(&self, error: &str) {
        self.state().failure = Some(Failure { at: UnixTime::now(), error: error.to_owned() });
    }

    /// Adds the checks since the last update to the history. Called every second,
    /// so that they are counted in the bucket of their time.
    pub fn update_history(&self) {
        if self.config().is_some_and(|config| self.is_on(&config.server)) {
            let (now, totals) = (UnixTime::now(), self.metrics.totals());
            self.state().history.update(now, totals);
            self.denials.merge(now);
        }
    }

    /// Whether the page is on under these settings.
    pub fn is_on(&self, settings: &ServerSettings) -> bool {
        settings.status_page.unwrap_or(self.address.is_loopback())
    }

    /// Whether the page is on by default, because of the address of the port.
    fn is_on_by_address(&self) -> bool {
        self.config().is_some_and(|config| config.server.status_page.is_none())
    }

    fn config(&self) -> Option<Arc<ConfigInfo>> {
        self.state().config.clone()
    }

    /// Locks the state, for a few instructions. A panic leaves it consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPage").field("config", &self.config_path).finish_non_exhaustive()
    }
}
