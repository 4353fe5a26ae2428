//! The status page: what the service is doing and whom it turned away, for
//! people who have to find out why.
//!
//! A [`Board`] gathers what there is to know: from the metrics, the key
//! sources, the configuration in force, and the memory of denials that the
//! workers fill ([`denials`]). Whoever asks gets a [`report::Report`] of the
//! moment, as JSON or as a page. All of it is made when somebody asks, and by
//! the control thread; a decision pays for remembering a denial, and nothing
//! at all where the page is off.

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    metrics::Metrics,
    provider::oauth2::key_source::KeySource,
    readiness::Readiness,
    settings::{AuthSettings, ServerSettings},
    time::UnixTime,
};

mod chart;
pub mod denials;
pub mod history;
pub mod http;
mod page;
pub mod report;
pub(crate) mod text;
mod wanted;

use denials::Denials;
use history::History;

/// The address of the documentation, for links.
pub const DOCUMENTATION: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs");

/// Gathers what the status page shows.
pub struct Board {
    revision: &'static str,
    config_path: PathBuf,
    address: IpAddr,
    readiness: Readiness,
    metrics: Metrics,
    denials: Arc<Denials>,
    started: UnixTime,
    state: Mutex<State>,
}

struct State {
    in_force: Option<Arc<InForce>>,
    failure: Option<Failure>,
    history: History,
}

/// The configuration in force.
pub struct InForce {
    /// Of its file; see [`crate::config::Loaded::digest`].
    pub digest: String,
    /// Since when.
    pub since: UnixTime,
    /// The `server` block.
    pub server: ServerSettings,
    /// The `auth` block.
    pub auth: AuthSettings,
    /// The signing keys of the providers that have any, by name.
    pub sources: Vec<(String, Arc<KeySource>)>,
}

/// A configuration that could not be put in force.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When that was found.
    pub at: UnixTime,
    /// Why.
    pub error: String,
}

impl Board {
    /// A board for the service whose config file is at `config`, whose admin
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
        let history = History::new(started, metrics.checks_by_reason());
        Self {
            revision,
            config_path: config.to_owned(),
            address: address.to_canonical(),
            readiness,
            metrics,
            denials: Arc::new(Denials::new(workers)),
            started,
            state: Mutex::new(State { in_force: None, failure: None, history }),
        }
    }

    /// Where denials are to be remembered under these settings, if the page
    /// is on.
    pub fn denials(&self, settings: &ServerSettings) -> Option<Arc<Denials>> {
        self.is_on(settings).then(|| Arc::clone(&self.denials))
    }

    /// Another configuration is in force.
    pub fn take_up(&self, in_force: InForce) {
        if !self.is_on(&in_force.server) {
            self.denials.clear();
        }
        let totals = self.metrics.checks_by_reason();
        let mut state = self.state();
        // Nobody has counted while the page was off.
        if !state.in_force.as_ref().is_some_and(|before| self.is_on(&before.server)) {
            state.history = History::new(in_force.since, totals);
        }
        state.in_force = Some(Arc::new(in_force));
        state.failure = None;
    }

    /// Another configuration could not be put in force.
    pub fn reload_failed(&self, error: &str) {
        self.state().failure = Some(Failure { at: UnixTime::now(), error: error.to_owned() });
    }

    /// Counts what was decided since the last time. Somebody does this every
    /// second, so that the page can tell when it happened.
    pub fn count(&self) {
        if self.in_force().is_some_and(|in_force| self.is_on(&in_force.server)) {
            let totals = self.metrics.checks_by_reason();
            self.state().history.look(UnixTime::now(), totals);
        }
    }

    fn is_on(&self, settings: &ServerSettings) -> bool {
        settings.status_page.unwrap_or(self.address.is_loopback())
    }

    /// Whether the page is on only because of the address of the port.
    fn is_on_by_address(&self) -> bool {
        self.in_force().is_some_and(|in_force| in_force.server.status_page.is_none())
    }

    fn in_force(&self) -> Option<Arc<InForce>> {
        self.state().in_force.clone()
    }

    /// Held for a few instructions; nothing in it is left half-done by a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("config", &self.config_path).finish_non_exhaustive()
    }
}
