//! One check, from a request to its recorded decision. Every door (a protocol
//! over which checks arrive) calls this module: it loads the active
//! configuration, decides now or later, limits the time, turns a panic into a
//! denial, and records metrics, log line, span and denial. A door only decodes
//! requests and encodes responses ([`Exchange`]).

use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use arc_swap::Guard;
use futures_util::FutureExt;
use tracing::error;

use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    reason::Reason,
    request::Request,
    time::UnixTime,
};

mod denials;
mod facts;
mod log;
mod snapshot;
mod span;

use facts::Facts;
pub(crate) use log::TARGET as LOG_TARGET;
pub use snapshot::{ConfigHandle, Snapshot};

/// One request in the form in which its door received it.
pub trait Exchange {
    /// What [`Exchange::request`] borrows from besides the message.
    type Scratch: Default;
    /// The encoded response.
    type Response;

    /// Decodes the request. This is cheap enough to be repeated by a check that
    /// has to wait, so that the others need not hold both the message and what
    /// is borrowed from it. A message that can't be decoded is an empty request,
    /// which the engine denies.
    fn request<'a>(&'a self, scratch: &'a Self::Scratch) -> Request<'a>;

    /// Encodes the response to a decision.
    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Self::Response;
}

/// Decides a request by the active configuration, waiting where it must.
pub async fn check<E: Exchange>(config: &ConfigHandle, exchange: &E) -> E::Response {
    let started = Instant::now();
    let snapshot = {
        let snapshot = config.load();
        match now(&snapshot, exchange, started) {
            Some(response) => return response,
            None => Guard::into_inner(snapshot),
        }
    };
    // Boxed, so that the future of a check that does not wait is smaller.
    Box::pin(later(&snapshot, exchange, started)).await
}

/// Decides a request that needs no I/O; `None` means that a provider has to
/// wait, so [`later`] has to be awaited.
pub fn now<E: Exchange>(
    snapshot: &Snapshot,
    exchange: &E,
    started: Instant,
) -> Option<E::Response> {
    let decide = || {
        let _in_flight = snapshot.meters.in_flight();
        let scratch = E::Scratch::default();
        let request = exchange.request(&scratch);
        let decision = snapshot.engine.check_arrived(&request, UnixTime::now(), started)?;
        Some(finish(snapshot, exchange, &request, &decision, started))
    };
    panic::catch_unwind(AssertUnwindSafe(decide))
        .unwrap_or_else(|_| Some(panicked(snapshot, exchange, started)))
}

/// Decides a request, waiting for providers until `check_timeout`. The timeout
/// does not cancel the I/O: the next request may find it done.
///
/// Must be polled on a tokio runtime.
pub async fn later<E: Exchange>(
    snapshot: &Snapshot,
    exchange: &E,
    started: Instant,
) -> E::Response {
    let decide = async {
        let _in_flight = snapshot.meters.in_flight();
        let scratch = E::Scratch::default();
        let request = exchange.request(&scratch);
        let give_up = tokio::time::sleep(snapshot.check_timeout);
        let decision = snapshot.engine.check_until(&request, UnixTime::now(), give_up).await;
        finish(snapshot, exchange, &request, &decision, started)
    };
    let decided = AssertUnwindSafe(decide).catch_unwind().await;
    decided.unwrap_or_else(|_| panicked(snapshot, exchange, started))
}

/// Encodes and records a decision.
fn finish<E: Exchange>(
    snapshot: &Snapshot,
    exchange: &E,
    request: &Request<'_>,
    decision: &Decision<'_>,
    started: Instant,
) -> E::Response {
    let response = exchange.respond(&snapshot.engine, request, decision);
    record(snapshot, request, decision, started);
    response
}

/// Records a decision: metrics, log line, denial, span. A request that limits
/// which are only tried out would have denied is recorded as a denial is, and
/// told apart.
fn record(snapshot: &Snapshot, request: &Request<'_>, decision: &Decision<'_>, started: Instant) {
    let elapsed = started.elapsed();
    snapshot.meters.record(decision, elapsed);
    let is_denied = matches!(decision.verdict, Verdict::Deny(_));
    let is_logged = log::is_wanted(is_denied);
    let would_be_over = decision.would_be_over();
    let denials = snapshot.denials.as_ref().filter(|_| is_denied || would_be_over);
    let tracer = snapshot.tracer.as_ref();
    let would_be_logged = would_be_over && log::is_wanted(true);
    let span = tracer.and_then(|tracer| Some((tracer, tracer.position(request)?)));
    if is_logged || would_be_logged || denials.is_some() || span.is_some() {
        let facts = Facts::of(&snapshot.engine, request, decision, elapsed);
        if is_logged {
            log::check(is_denied, &facts);
        }
        if would_be_logged {
            log::would_be_over(&facts);
        }
        if let Some(denials) = denials {
            denials::record(denials, decision, &facts);
        }
        if let Some((tracer, position)) = span {
            span::record(tracer, position, &snapshot.engine, decision, &facts, elapsed);
        }
    }
    if let Some(caller) = &decision.caller
        && !caller.identity.dropped.is_empty()
    {
        log::dropped_headers(request, &caller.identity.dropped);
    }
}

/// The denial in place of a decision that panicked. The panic's message may
/// quote the request, so it is not repeated here.
#[cold]
fn panicked<E: Exchange>(snapshot: &Snapshot, exchange: &E, started: Instant) -> E::Response {
    let scratch = E::Scratch::default();
    // Decoding the request may be what panicked.
    let request = panic::catch_unwind(AssertUnwindSafe(|| exchange.request(&scratch)));
    let request = request.unwrap_or_default();
    error!(
        request_id = request.request_id().map(facts::shown).as_deref(),
        trace_id = request.traceparent().map(|parent| parent.trace_id),
        "a check panicked and is denied"
    );
    let decision = Decision::deny(Denial::Internal, Reason::Internal);
    record(snapshot, &request, &decision, started);
    // Encoding the response to this request may be what panicked, too.
    exchange.respond(&snapshot.engine, &Request::default(), &decision)
}
