//! The signing keys of an issuer, and how they stay fresh.
//!
//! Reading the keys of a [`KeySource`] takes neither a wait nor a lock. One
//! background task per source makes every fetch: on schedule, and when a token
//! names a key that the set does not have. Requests wait for that task alone,
//! so there is one fetch at a time, which runs to its end even when they stop
//! waiting.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use claimgate_core::{
    keys::{KeySet, KeySetError, KeyStore, Parsed, Refresh},
    settings::{KeyLocation, KeySourceSettings},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    gate::{Admission, Gate},
    task::Task,
};
use super::fetch::{Fetcher, HttpFetcher, SetupError};

mod gate;
mod observe;
mod status;
mod task;
#[cfg(test)]
mod tests;

pub use self::{
    observe::{FetchObserver, FetchReport, FetchResult, Unobserved},
    status::{KeyStatus, Status},
};

/// The keys of one provider, or of several that would fetch the same, replaced
/// in the background.
#[derive(Debug)]
pub struct KeySource {
    keys: ArcSwap<KeySet>,
    /// Their names, for logs and metrics.
    providers: ArcSwap<Vec<String>>,
    /// `None` for keys that never change.
    remote: Option<Remote>,
}

/// What a source shares with its task.
#[derive(Debug)]
struct Remote {
    state: Mutex<State>,
    /// Wakes the task; dropping it ends the task.
    wake: mpsc::Sender<()>,
    progress: watch::Receiver<Progress>,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    status: Status,
}

/// The events that requests and readiness wait for.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Fetches that have ended.
    ended: u64,
    /// Whether one of them succeeded.
    ready: bool,
}

/// The task that keeps a source fresh, to be spawned on a tokio runtime. It
/// ends when its [`KeySource`] is dropped, and at once for a source that never
/// changes.
pub type RefreshTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source that can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The fetcher can't be set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The file with the keys can't be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// Its path.
        path: String,
        /// The error of the system.
        cause: String,
    },
    /// The file gives no keys.
    #[error("{path}: {cause}")]
    NoKeys {
        /// Its path.
        path: String,
        /// What is wrong with it.
        cause: KeySetError,
    },
}

impl KeySource {
    /// Keys that never change.
    fn fixed(providers: Vec<String>, keys: KeySet) -> Arc<Self> {
        let (keys, providers) = (ArcSwap::from_pointee(keys), ArcSwap::from_pointee(providers));
        Arc::new(Self { keys, providers, remote: None })
    }

    /// The keys that `settings` name, for the providers of these names, with
    /// the task that keeps them fresh.
    ///
    /// A file is read here, and never again: when it changes, a new source is
    /// opened. Keys behind a URL are first fetched by the task.
    ///
    /// # Errors
    /// If a file can't be read or gives no keys, or if the fetcher can't be set
    /// up. A fetch that fails is not an error here: the task retries it.
    pub fn open(
        providers: Vec<String>,
        issuer: &str,
        settings: &KeySourceSettings,
        observer: Arc<dyn FetchObserver>,
    ) -> Result<(Arc<Self>, RefreshTask), OpenError> {
        match &settings.location {
            KeyLocation::File(path) => {
                let parsed = read_file(path)?;
                observe::warn_of_skipped(&providers, &parsed.skipped);
                providers.iter().for_each(|name| observer.loaded(name, parsed.set.len()));
                Ok((Self::fixed(providers, parsed.set), Box::pin(std::future::ready(()))))
            }
            KeyLocation::Url(_) | KeyLocation::Discovery { .. } => {
                let fetcher = HttpFetcher::new(issuer, settings)?;
                let (source, task) = Self::with_fetcher(providers, settings, observer, fetcher);
                Ok((source, Box::pin(task.run())))
            }
        }
    }

    fn with_fetcher<F: Fetcher>(
        providers: Vec<String>,
        settings: &KeySourceSettings,
        observer: Arc<dyn FetchObserver>,
        fetcher: F,
    ) -> (Arc<Self>, Task<F>) {
        let (wake, woken) = mpsc::channel(1);
        let (ended, progress) = watch::channel(Progress::default());
        let state = State { gate: Gate::new(settings.refresh_cooldown), status: Status::default() };
        let source = Arc::new(Self {
            keys: ArcSwap::default(),
            providers: ArcSwap::from_pointee(providers),
            remote: Some(Remote { state: Mutex::new(state), wake, progress }),
        });
        let task = Task::new(settings, observer, fetcher, &source, woken, ended);
        (source, task)
    }

    /// The names of the providers whose keys these are.
    pub fn providers(&self) -> Arc<Vec<String>> {
        self.providers.load_full()
    }

    /// Reports to these providers from now on, and at once how many keys the
    /// new ones among them have.
    pub(crate) fn serve(&self, providers: Vec<String>, observer: &dyn FetchObserver) {
        let keys = self.keys.load().len();
        let before = self.providers.swap(Arc::new(providers));
        let is_new = |name: &&String| !before.contains(name);
        self.providers.load().iter().filter(is_new).for_each(|name| observer.loaded(name, keys));
    }

    /// The state of the source.
    pub fn status(&self) -> Status {
        let mut status = match &self.remote {
            Some(remote) => remote.state().status.clone(),
            None => Status { ready: true, ..Status::default() },
        };
        status.keys = self.keys.load().iter().map(|key| KeyStatus::of(key)).collect();
        status
    }

    /// Waits until a fetch has succeeded once; false if none can, because the
    /// task has ended.
    pub async fn ready(&self) -> bool {
        match &self.remote {
            Some(remote) => {
                let mut progress = remote.progress.clone();
                progress.wait_for(|progress| progress.ready).await.is_ok()
            }
            None => true,
        }
    }

    /// Waits until the first fetch has ended, successfully or not.
    pub async fn first_fetch_done(&self) {
        if let Some(remote) = &self.remote {
            let mut progress = remote.progress.clone();
            let _ = progress.wait_for(|progress| progress.ended > 0).await;
        }
    }
}

impl KeyStore for KeySource {
    fn keys(&self) -> Guard<Arc<KeySet>> {
        self.keys.load()
    }

    /// Within the cooldown of a fetch that was requested here, its result is
    /// returned. Otherwise the caller waits for the fetch under way, or
    /// requests one. When it stops waiting, the fetch and its other waiters go
    /// on.
    fn refresh(&self) -> Refresh {
        let Some(remote) = &self.remote else {
            return Refresh::Settled { good: true };
        };
        let admission = {
            let mut state = remote.state();
            state.gate.admit(Instant::now(), !self.keys.load().is_empty())
        };
        let until = match admission {
            Admission::Settled { good } => return Refresh::Settled { good },
            Admission::WaitFor(fetch) => fetch,
            Admission::Request(fetch) => {
                // If it is full, the task is woken already.
                let _ = remote.wake.try_send(());
                fetch
            }
        };
        let mut progress = remote.progress.clone();
        if progress.has_changed().is_err() {
            // The task has ended, and no fetch follows.
            return Refresh::Settled { good: false };
        }
        Refresh::Wait(Box::pin(async move {
            let _ = progress.wait_for(|progress| progress.ended >= until).await;
        }))
    }

    fn last_error(&self) -> Option<String> {
        self.remote.as_ref().and_then(|remote| remote.state().status.last_error.clone())
    }
}

impl Remote {
    /// Held for a few instructions, never across a fetch.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_file(path: &Path) -> Result<Parsed, OpenError> {
    let name = || path.display().to_string();
    let document = claimgate_files::read(path)
        .map_err(|error| OpenError::Unreadable { path: name(), cause: error.to_string() })?;
    KeySet::parse(&document).map_err(|cause| OpenError::NoKeys { path: name(), cause })
}
