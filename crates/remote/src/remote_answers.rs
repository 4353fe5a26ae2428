//! Answers of a remote service about tokens, for the providers that call one.
//!
//! An answer that holds for every request with its token is cached. Requests
//! with the same token make one call (single flight). A call has a deadline,
//! and goes on when the request that made it stops waiting: its answer serves
//! the next one.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use claimgate_core::{
    credential::Credential,
    provider::{Answer, Answering},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

pub(crate) use self::{answer::RemoteAnswer, request_ids::RequestIds};

use self::{
    cache::{AnswerCache, CachedAnswer},
    flights::{Flight, Flights, Follower, Joined},
};

mod answer;
mod cache;
mod flights;
mod request_ids;
#[cfg(test)]
mod tests;

/// Calls a service about tokens, and caches its answers.
pub(crate) struct RemoteAnswers {
    provider: String,
    /// What is called, for the log.
    service: &'static str,
    timeout: Duration,
    shared: Arc<Shared>,
    /// Calls run here, so that a request that stops waiting does not end its
    /// call.
    runtime: Handle,
}

/// What calls and their answers may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many answers are cached; 0 caches none, and every request makes a
    /// call of its own.
    pub(crate) cache_entries: usize,
    /// How many bytes they take.
    pub(crate) cache_bytes: usize,
    /// Deadline of one call.
    pub(crate) timeout: Duration,
}

/// What the requests share with the calls.
struct Shared {
    cache: Option<AnswerCache>,
    flights: Arc<Flights>,
    /// Whether the last answer held for other requests. While a service gives
    /// answers that do not, waiting for another request's answer would only
    /// double the time.
    answers_hold: AtomicBool,
}

impl RemoteAnswers {
    /// For the provider of this name, which calls a `service`; calls run on
    /// `runtime`.
    pub(crate) fn new(
        provider: &str,
        service: &'static str,
        limits: Limits,
        runtime: Handle,
    ) -> Self {
        let shared = Shared {
            cache: AnswerCache::new(limits.cache_entries, limits.cache_bytes),
            flights: Arc::default(),
            answers_hold: AtomicBool::new(true),
        };
        Self {
            provider: provider.to_owned(),
            service,
            timeout: limits.timeout,
            shared: Arc::new(shared),
            runtime,
        }
    }

    /// The answer about a credential: from the cache, or later that of the
    /// future that `call` makes.
    ///
    /// `call` runs when the returned future is first polled, so nothing is
    /// sent for a request that can't wait.
    pub(crate) fn answer<'a, C>(
        &'a self,
        credential: &'a Credential<'a>,
        call: impl FnOnce() -> C + Send + 'a,
    ) -> Answering<'a>
    where
        C: Future<Output = RemoteAnswer> + Send + 'static,
    {
        if let Some(CachedAnswer { principal, until }) = self.shared.cached(credential) {
            credential.note(|| format!("its answer is remembered until {until}"));
            return Answering::Now(Answer::Authenticated(principal));
        }
        Answering::later(async move {
            let RemoteAnswer { answer, note, .. } = self.fetch(credential, call).await;
            if let Some(note) = note {
                credential.because(format_args!("{note}"));
            }
            answer
        })
    }

    async fn fetch<C>(&self, credential: &Credential<'_>, call: impl FnOnce() -> C) -> RemoteAnswer
    where
        C: Future<Output = RemoteAnswer> + Send + 'static,
    {
        let deadline = self.deadline();
        match self.shared.join(credential) {
            None => self.call(credential, call(), deadline, None).await,
            Some(Joined::First(flight)) => {
                self.call(credential, call(), deadline, Some(flight)).await
            }
            Some(Joined::Known(CachedAnswer { principal, .. })) => {
                Answer::Authenticated(principal).into()
            }
            Some(Joined::UnderWay(follower)) => {
                match self.follow(credential, follower, deadline).await {
                    Ok(answer) => answer,
                    Err(deadline) => self.call(credential, call(), deadline, None).await,
                }
            }
        }
    }

    /// Waits for the call of another request.
    ///
    /// # Errors
    /// Its answer is for that request alone, or there is none: this request
    /// needs a call of its own until the returned deadline.
    async fn follow(
        &self,
        credential: &Credential<'_>,
        follower: Follower,
        deadline: Instant,
    ) -> Result<RemoteAnswer, Instant> {
        match follower.landed().await {
            Some(answer) if answer.holds_at(credential.now()) => Ok(answer),
            // The service answers, so it has all its time for this request.
            Some(answer) if !answer.is_unavailable() => Err(self.deadline()),
            // It failed once; this request waits no longer than without it.
            Some(failure) if deadline <= Instant::now() => Ok(failure),
            Some(_) | None => Err(deadline),
        }
    }

    /// Makes a call that goes on without its request.
    async fn call(
        &self,
        credential: &Credential<'_>,
        call: impl Future<Output = RemoteAnswer> + Send + 'static,
        deadline: Instant,
        flight: Option<Flight>,
    ) -> RemoteAnswer {
        let token: Box<str> = credential.token().into();
        let shared = Arc::clone(&self.shared);
        let late = self.late(credential);
        let call = self.runtime.spawn(async move {
            let answer = timeout_at(deadline, call).await.unwrap_or_else(|_| late());
            shared.learn(&token, &answer);
            if let Some(flight) = flight {
                flight.land(&answer);
            }
            answer
        });
        // It panicked, or the runtime ends.
        call.await.unwrap_or_else(|_| Answer::Unavailable.into())
    }

    /// Logs that a call has reached its deadline.
    fn late(&self, credential: &Credential<'_>) -> impl FnOnce() -> RemoteAnswer + use<> {
        let (provider, service, timeout) = (self.provider.clone(), self.service, self.timeout);
        let RequestIds { request_id, trace_id } = RequestIds::of(credential);
        move || {
            tracing::warn!(provider, request_id, trace_id, "{service} did not answer in time");
            RemoteAnswer::unavailable(format!("no answer within {} ms", timeout.as_millis()))
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

impl Shared {
    fn cached(&self, credential: &Credential<'_>) -> Option<CachedAnswer> {
        self.cache.as_ref()?.get(credential.token(), credential.now())
    }

    /// Joins the flight for a token; `None` where each request makes a call of
    /// its own.
    fn join(&self, credential: &Credential<'_>) -> Option<Joined<CachedAnswer>> {
        let joins = self.cache.is_some() && self.answers_hold.load(Ordering::Relaxed);
        joins.then(|| self.flights.join(credential.token(), || self.cached(credential)))
    }

    /// Caches an answer that holds for other requests.
    fn learn(&self, token: &str, answer: &RemoteAnswer) {
        if !answer.is_unavailable() {
            self.answers_hold.store(answer.until.is_some(), Ordering::Relaxed);
        }
        if let Some(cache) = &self.cache {
            cache.insert(token, answer);
        }
    }
}

impl fmt::Debug for RemoteAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAnswers").field("provider", &self.provider).finish_non_exhaustive()
    }
}
