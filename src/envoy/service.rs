//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A call is read, decided, answered, counted and logged here. It never ends
//! in an RPC error for anything that a client of Envoy can bring about:
//! Envoy would then decide by its failure mode. What can't be read, what does
//! not arrive in time and what finds no room is decided as an empty request;
//! what takes too long to decide and what panics is denied. A call that the
//! client has taken back is not decided at all.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt;
use http_body_util::Either;
use tonic::{
    Status,
    codegen::{BoxFuture, Bytes, Service, StdError, http},
    server::NamedService,
};
use tracing::{debug, error, warn};

use super::{
    SERVICE_NAME,
    answer::{self, Encoded},
    decode::{Names, check_request},
    framing::{self, CheckBody},
    log, remember, trace,
    unfinished::{self, Budget, First, NoMessage, Whole},
};
use crate::{
    decision::{Decision, Denial},
    engine::Engine,
    metrics::CheckMeters,
    reason::Reason,
    request::Request,
    status::denials::Denials,
    telemetry::Seldom,
    time::UnixTime,
    traces::Tracer,
};

/// Everything that one configuration decides with.
pub struct Live {
    /// Decides.
    pub engine: Engine,
    /// Counts.
    pub meters: CheckMeters,
    /// How long a decision may wait for somebody.
    pub check_timeout: Duration,
    /// Remembers denials, if anybody may look at them.
    pub denials: Option<Arc<Denials>>,
    /// Records spans, if anybody collects them.
    pub tracer: Option<Arc<Tracer>>,
}

/// Somebody who knows the configuration in force.
pub trait Checker: Send + Sync + 'static {
    /// The configuration in force right now. A check keeps the one that it
    /// began with.
    fn live(&self) -> Guard<Arc<Live>>;
}

impl Checker for ArcSwap<Live> {
    fn live(&self) -> Guard<Arc<Live>> {
        self.load()
    }
}

/// The gRPC service. Clones share the same checker.
pub struct AuthorizationServer<C>(Arc<Inner<C>>);

/// Calls count their use of it, so each worker has one of its own.
struct Inner<C> {
    checker: Arc<C>,
    unfinished: Budget,
}

impl<C: Checker> AuthorizationServer<C> {
    /// Decides by the configuration that `checker` has in force.
    pub fn new(checker: Arc<C>) -> Self {
        Self(Arc::new(Inner { checker, unfinished: Budget::default() }))
    }

    /// Has messages that are not whole yet share `budget` with those of
    /// others.
    #[must_use]
    pub fn sharing(self, budget: Budget) -> Self {
        Self(Arc::new(Inner { checker: Arc::clone(&self.0.checker), unfinished: budget }))
    }
}

impl<C> Clone for AuthorizationServer<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for AuthorizationServer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer").finish_non_exhaustive()
    }
}

impl<C> NamedService for AuthorizationServer<C> {
    const NAME: &'static str = SERVICE_NAME;
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

impl<C, B> Service<http::Request<B>> for AuthorizationServer<C>
where
    C: Checker,
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<StdError> + Unpin + Send + 'static,
{
    type Response = http::Response<CheckBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != CHECK {
            let no_such_method = Status::unimplemented("no such method").into_http();
            return Box::pin(async { Ok(no_such_method.map(Either::Right)) });
        }
        let inner = Arc::clone(&self.0);
        // The call's own headers are of no use from here on, so a call that
        // waits does not hold them.
        let body = request.into_body();
        Box::pin(async move { Ok(respond(&inner, body).await) })
    }
}

/// Answers one call.
async fn respond<C, B>(inner: &Inner<C>, mut body: B) -> http::Response<CheckBody>
where
    C: Checker,
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<StdError> + Unpin + Send + 'static,
{
    // What comes whole in one frame needs no timer, no budget and no box: going
    // the other way all the same takes 3 % more CPU (`make bench ARGS=grpc`,
    // known token).
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
    let message = match &first {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().and_then(framing::whole_message),
        _ => None,
    };
    match message.filter(|_| body.is_end_stream()) {
        Some(message) => framing::reply(answer(&*inner.checker, message).await),
        // In a box, so that no other call has to carry room for it. Without this
        // box and that of `check_later`, a check takes 3 % more CPU (`make bench
        // ARGS=grpc`, known token).
        None => Box::pin(respond_later(inner, first, body)).await,
    }
}

/// Answers a call whose message has not come in one frame.
async fn respond_later<C, B>(
    inner: &Inner<C>,
    first: First<B>,
    body: B,
) -> http::Response<CheckBody>
where
    C: Checker,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let Inner { checker, unfinished } = inner;
    framing::reply(match unfinished::receive(first, body, unfinished).await {
        Ok(Whole { message, _share }) => answer(&**checker, message).await,
        Err(NoMessage::Reset) => taken_back(&checker.live()),
        // Without its message the call is decided as if it had an empty one.
        Err(why) => {
            warn_of(why);
            answer(&**checker, Bytes::new()).await
        }
    })
}

/// The answer to a call that the client has reset. It is not read, so it
/// is not a decision to be counted or logged; were it read all the same,
/// it denies.
fn taken_back(live: &Live) -> Encoded {
    debug!("a call was reset before its message was whole");
    let denial = Decision::deny(Denial::BadRequest, Reason::MalformedRequest);
    answer::encode(&live.engine, &Request::default(), &denial)
}

/// Tells why messages can't be received, though not of every one: each has a
/// line as a denied request anyhow.
#[cold]
fn warn_of(why: NoMessage) {
    static SELDOM: Seldom = Seldom::new();
    match SELDOM.is_due() {
        true => warn!(%why, "check messages can't be received"),
        false => debug!(%why, "check message can't be received"),
    }
}

/// Answers one check.
async fn answer<C: Checker>(checker: &C, message: Bytes) -> Encoded {
    let started = Instant::now();
    let live = {
        let live = checker.live();
        let now = || check_now(&live, &message, started);
        match panic::catch_unwind(AssertUnwindSafe(now)) {
            Ok(Some(answer)) => return answer,
            Ok(None) => Guard::into_inner(live),
            Err(_) => return panicked(&live, &message, started),
        }
    };
    // In a box, so that a check that waits for nobody needs no room for it.
    let later = Box::pin(AssertUnwindSafe(check_later(&live, &message, started)).catch_unwind());
    later.await.unwrap_or_else(|_| panicked(&live, &message, started))
}

/// Answers a check that needs to wait for nobody; `None` if this one does.
fn check_now(live: &Live, message: &[u8], started: Instant) -> Option<Encoded> {
    let _in_flight = live.meters.in_flight();
    let names = Names::new();
    let request = check_request(message, &names).unwrap_or_default();
    let decision = live.engine.check_now(&request, UnixTime::now())?;
    Some(finish(live, &request, &decision, started))
}

/// Answers a check, waiting for as long as may be. Giving up does not end the
/// I/O that was waited for: whoever asks next may find it done.
async fn check_later(live: &Live, message: &[u8], started: Instant) -> Encoded {
    let _in_flight = live.meters.in_flight();
    let names = Names::new();
    let request = check_request(message, &names).unwrap_or_default();
    let give_up = tokio::time::sleep(live.check_timeout);
    let decision = live.engine.check_until(&request, UnixTime::now(), give_up).await;
    finish(live, &request, &decision, started)
}

/// Encodes, counts and logs a decision.
fn finish(
    live: &Live,
    request: &Request<'_>,
    decision: &Decision<'_>,
    started: Instant,
) -> Encoded {
    let answer = answer::encode(&live.engine, request, decision);
    let elapsed = started.elapsed();
    live.meters.record(decision, elapsed);
    let provider = decision.provider.map(|id| live.engine.provider(id).name());
    log::check(request, decision, provider, elapsed);
    remember::denial(live, request, decision, provider);
    trace::check(live, request, decision, provider, elapsed);
    if let Some(caller) = &decision.caller
        && !caller.identity.dropped.is_empty()
    {
        log::dropped_headers(request, &caller.identity.dropped);
    }
    answer
}

/// The denial in place of a decision that panicked. What it panicked with may
/// quote the request, so that is not repeated here.
#[cold]
fn panicked(live: &Live, message: &[u8], started: Instant) -> Encoded {
    let names = Names::new();
    // Reading it may be what panicked.
    let request = panic::catch_unwind(AssertUnwindSafe(|| check_request(message, &names)));
    let request = request.ok().and_then(Result::ok).unwrap_or_default();
    error!(
        request_id = request.request_id(),
        trace_id = request.traceparent().map(|parent| parent.trace_id),
        "a check panicked and is denied"
    );
    let decision = Decision::deny(Denial::Internal, Reason::Internal);
    let elapsed = started.elapsed();
    live.meters.record(&decision, elapsed);
    log::check(&request, &decision, None, elapsed);
    remember::denial(live, &request, &decision, None);
    trace::check(live, &request, &decision, None, elapsed);
    // It may as well be the answer to this request that panicked.
    answer::encode(&live.engine, &Request::default(), &decision)
}
