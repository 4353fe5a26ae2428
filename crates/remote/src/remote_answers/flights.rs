//! Single flight: while a call for a token is under way, other requests with
//! that token wait for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::answer::RemoteAnswer;

/// The calls under way, by token.
#[derive(Default)]
pub(super) struct Flights(Mutex<ByToken>);

type ByToken = HashMap<Box<str>, watch::Receiver<Option<RemoteAnswer>>, ahash::RandomState>;

/// How a request joins the flights.
pub(super) enum Joined<T> {
    /// It is the first: it must make the call.
    First(Flight),
    /// A call is under way.
    UnderWay(Follower),
    /// There is no call, and none is needed.
    Known(T),
}

/// A call under way. When it is dropped, no request waits for it any more.
pub(super) struct Flight {
    flights: Arc<Flights>,
    token: Box<str>,
    answer: watch::Sender<Option<RemoteAnswer>>,
}

/// Waits for a call of another request.
pub(super) struct Follower(watch::Receiver<Option<RemoteAnswer>>);

impl Flights {
    /// Joins the flight for a token, or begins it unless `known` has an answer
    /// by now. A flight that lands is `known` before it is gone, so a call for
    /// the same token is not made twice.
    pub(super) fn join<T>(
        self: &Arc<Self>,
        token: &str,
        known: impl FnOnce() -> Option<T>,
    ) -> Joined<T> {
        let mut flights = self.lock();
        if let Some(under_way) = flights.get(token) {
            return Joined::UnderWay(Follower(under_way.clone()));
        }
        if let Some(known) = known() {
            return Joined::Known(known);
        }
        let (answer, under_way) = watch::channel(None);
        flights.insert(token.into(), under_way);
        Joined::First(Flight { flights: Arc::clone(self), token: token.into(), answer })
    }

    /// Whether no call is under way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Held for a few instructions, never across a call.
    fn lock(&self) -> MutexGuard<'_, ByToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Ends the flight with this answer for every follower.
    pub(super) fn land(self, answer: &RemoteAnswer) {
        self.answer.send_replace(Some(answer.clone()));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.token);
    }
}

impl Follower {
    /// The answer; `None` if the call ended without one, in a panic.
    pub(super) async fn landed(mut self) -> Option<RemoteAnswer> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}
