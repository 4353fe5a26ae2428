//! Whether requests may be sent here.

use std::sync::Arc;

use futures_util::future::select_all;
use tokio::{sync::watch, task::JoinHandle};

use crate::provider::oauth2::key_source::KeySource;

/// The readiness of the instance, shared by the admin port and the gRPC health
/// service.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// Whether this instance takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet; what is still missing, each as a short phrase.
    Waiting(Vec<String>),
    /// It does.
    Ready,
    /// It is shutting down.
    Draining,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::Waiting(Vec::new()))) }
    }
}

impl Readiness {
    /// Sets what is still missing; an empty list makes it ready.
    ///
    /// Once ready, it stays ready until the drain. An issuer that fails later
    /// fails the checks of its own tokens; if every replica became unready
    /// then, the checks of all other tokens would fail too.
    pub fn set_missing(&self, missing: Vec<String>) {
        self.state.send_if_modified(|state| {
            let next = if missing.is_empty() { State::Ready } else { State::Waiting(missing) };
            let changes = matches!(state, State::Waiting(_)) && *state != next;
            if changes {
                *state = next;
            }
            changes
        });
    }

    /// Makes it unready for good.
    pub fn drain(&self) {
        self.state.send_replace(State::Draining);
    }

    /// The current state.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Subscribes to changes.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
}

impl Readiness {
    /// Starts a task that makes it ready as soon as every source has loaded
    /// keys. It has to be called within a tokio runtime.
    pub fn track(&self, sources: Vec<(String, Arc<KeySource>)>) -> ReadinessTask {
        ReadinessTask(tokio::spawn(wait_for_keys(sources, self.clone())))
    }
}

/// The task that waits for keys; dropping this ends it.
#[derive(Debug)]
pub struct ReadinessTask(JoinHandle<()>);

impl Drop for ReadinessTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn wait_for_keys(mut sources: Vec<(String, Arc<KeySource>)>, readiness: Readiness) {
    loop {
        sources.retain(|(_, keys)| !keys.status().ready);
        let missing = |(provider, _): &(String, _)| format!("{provider}: no signing keys yet");
        readiness.set_missing(sources.iter().map(missing).collect());
        if sources.is_empty() {
            return;
        }
        let ready = sources.iter().map(|(_, keys)| Box::pin(keys.ready()));
        if let (false, ..) = select_all(ready).await {
            // The key source's task has ended, which happens at shutdown only.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_is_ready_until_the_drain() {
        let readiness = Readiness::default();
        let waiting = |what: &str| State::Waiting(vec![what.to_owned()]);
        assert_eq!(readiness.state(), State::Waiting(Vec::new()));
        readiness.set_missing(vec!["keys".into()]);
        assert_eq!(readiness.state(), waiting("keys"));
        readiness.set_missing(Vec::new());
        assert_eq!(readiness.state(), State::Ready);
        readiness.set_missing(vec!["keys".into()]);
        assert_eq!(readiness.state(), State::Ready);
        readiness.drain();
        readiness.set_missing(Vec::new());
        assert_eq!(readiness.state(), State::Draining);
    }
}
