//! Whether requests may be sent here.

use std::sync::Arc;

use futures_util::future::select_all;
use tokio::{sync::watch, task::JoinHandle};

use crate::provider::oauth2::key_source::KeySource;

/// The one answer to "ready?", shared by the admin port and the gRPC health
/// service.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// What stands between this instance and its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Some things are still missing; each is a short phrase for a reader.
    Waiting(Vec<String>),
    /// Nothing.
    Ready,
    /// It is going away.
    Draining,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::Waiting(Vec::new()))) }
    }
}

impl Readiness {
    /// Says what is missing; nothing makes it ready.
    ///
    /// Being ready once is being ready until the drain. An issuer that fails
    /// later takes its own tokens down; were every replica to report itself
    /// unready then, it would take everybody else's down too.
    pub fn missing(&self, missing: Vec<String>) {
        self.state.send_if_modified(|state| {
            let next = if missing.is_empty() { State::Ready } else { State::Waiting(missing) };
            let changes = matches!(state, State::Waiting(_)) && *state != next;
            if changes {
                *state = next;
            }
            changes
        });
    }

    /// Not ready any more, for good.
    pub fn drain(&self) {
        self.state.send_replace(State::Draining);
    }

    /// What it is right now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows the changes.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
}

impl Readiness {
    /// Makes it ready as soon as every source has had keys, for as long as
    /// the follower is held.
    pub(crate) fn follow(&self, sources: Vec<(String, Arc<KeySource>)>) -> Follower {
        Follower(tokio::spawn(follow(sources, self.clone())))
    }
}

/// Ends its task when dropped.
#[derive(Debug)]
pub(crate) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow(mut sources: Vec<(String, Arc<KeySource>)>, readiness: Readiness) {
    loop {
        sources.retain(|(_, keys)| !keys.status().ready);
        let missing = |(provider, _): &(String, _)| format!("{provider}: no signing keys yet");
        readiness.missing(sources.iter().map(missing).collect());
        if sources.is_empty() {
            return;
        }
        let ready = sources.iter().map(|(_, keys)| Box::pin(keys.ready()));
        if let (false, ..) = select_all(ready).await {
            // The task behind it has ended, as it does with the program.
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
        readiness.missing(vec!["keys".into()]);
        assert_eq!(readiness.state(), waiting("keys"));
        readiness.missing(Vec::new());
        assert_eq!(readiness.state(), State::Ready);
        readiness.missing(vec!["keys".into()]);
        assert_eq!(readiness.state(), State::Ready);
        readiness.drain();
        readiness.missing(Vec::new());
        assert_eq!(readiness.state(), State::Draining);
    }
}
