//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A call is read, decided, answered, counted and logged here. It never ends
//! in an RPC error for anything that a client of Envoy can bring about:
//! Envoy would then decide by its failure mode. What can't be read is decided
//! as an empty request, what takes too long and what panics is denied.

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
    body::Body,
    codegen::{BoxFuture, Bytes, Service, StdError, http},
    server::{Grpc, NamedService},
};
use tracing::{error, warn};

use super::{
    MAX_MESSAGE_BYTES, SERVICE_NAME,
    answer::{self, Encoded},
    codec::CheckCodec,
    decode::{Names, check_request},
    framing::{self, CheckBody, Resumed},
    log, remember, trace,
};
use crate::{
    decision::{Decision, Denial},
    engine::Engine,
    metrics::CheckMeters,
    reason::Reason,
    request::Request,
    status::denials::Denials,
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
pub struct AuthorizationServer<C> {
    checker: Arc<C>,
}

impl<C: Checker> AuthorizationServer<C> {
    /// Decides by the configuration that `checker` has in force.
    pub fn new(checker: Arc<C>) -> Self {
        Self { checker }
    }
}

impl<C> Clone for AuthorizationServer<C> {
    fn clone(&self) -> Self {
        Self { checker: Arc::clone(&self.checker) }
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
        let checker = Arc::clone(&self.checker);
        Box::pin(async move { Ok(respond(checker, request).await) })
    }
}

/// Answers one call.
async fn respond<C, B>(checker: Arc<C>, request: http::Request<B>) -> http::Response<CheckBody>
where
    C: Checker,
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<StdError> + Unpin + Send + 'static,
{
    let (head, mut body) = request.into_parts();
    let first = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    let message = first.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
    match message.and_then(framing::whole_message).filter(|_| body.is_end_stream()) {
        Some(message) => framing::reply(answer(&*checker, message).await),
        None => {
            let request = http::Request::from_parts(head, Resumed { first, rest: body });
            // In a box, so that no other call has to carry room for it.
            Box::pin(respond_by_codec(checker, request)).await.map(Either::Right)
        }
    }
}

/// Answers a call of any shape.
async fn respond_by_codec<C, B>(checker: Arc<C>, request: http::Request<B>) -> http::Response<Body>
where
    C: Checker,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    let mut grpc = Grpc::new(CheckCodec).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let response = grpc.unary(Check(Arc::clone(&checker)), request).await;
    let Some(status) = response.headers().get(GRPC_STATUS) else { return response };
    // Without its message the call is decided as if it had an empty one.
    let description = response.headers().get("grpc-message");
    warn!(?status, ?description, "check message can't be received");
    let empty = Body::new(axum::body::Body::from(EMPTY_MESSAGE));
    grpc.unary(Check(checker), http::Request::new(empty)).await
}

/// In the headers of a response, it says that there is no message.
const GRPC_STATUS: &str = "grpc-status";

/// A gRPC frame: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The one method, as tonic calls it.
struct Check<C>(Arc<C>);

impl<C: Checker> Service<tonic::Request<Bytes>> for Check<C> {
    type Response = tonic::Response<Encoded>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: tonic::Request<Bytes>) -> Self::Future {
        let checker = Arc::clone(&self.0);
        Box::pin(
            async move { Ok(tonic::Response::new(answer(&*checker, message.into_inner()).await)) },
        )
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
