//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A call is received, checked ([`crate::check`]) and responded to here. It
//! never ends in an RPC error for anything that a client of Envoy can cause:
//! Envoy would then decide by its failure mode. A message that can't be read,
//! does not arrive in time or exceeds the budget is decided as an empty
//! request. A call that the client has reset is not decided at all.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::Either;
use tonic::{
    Status,
    codegen::{BoxFuture, Bytes, Service, StdError, http},
    server::NamedService,
};
use tracing::{debug, warn};

use super::{
    SERVICE_NAME,
    decode::{Names, check_request},
    framing::{self, CheckBody},
    response::{self, Encoded},
    unfinished::{self, Budget, FirstFrame, ReceiveError, Received},
};
use crate::{
    check::{ConfigHandle, Exchange, Snapshot, check},
    decision::{Decision, Denial},
    engine::Engine,
    reason::Reason,
    request::Request,
    telemetry::LogThrottle,
};

/// The gRPC service. Clones share the same configuration and budget.
#[derive(Clone)]
pub struct AuthorizationServer(Arc<Inner>);

/// Every call counts a reference to it. Each worker has its own, so workers
/// do not write to one cache line.
struct Inner {
    config: ConfigHandle,
    unfinished: Budget,
}

impl AuthorizationServer {
    /// A service that decides by the current configuration of `config`.
    pub fn new(config: ConfigHandle) -> Self {
        Self::with_budget(config, Budget::default())
    }

    /// As [`Self::new`]; unfinished messages are held within `budget`, which
    /// several services may share.
    pub fn with_budget(config: ConfigHandle, unfinished: Budget) -> Self {
        Self(Arc::new(Inner { config, unfinished }))
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer").finish_non_exhaustive()
    }
}

impl NamedService for AuthorizationServer {
    const NAME: &'static str = SERVICE_NAME;
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

impl<B> Service<http::Request<B>> for AuthorizationServer
where
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

/// Responds to one call.
async fn respond<B>(inner: &Inner, mut body: B) -> http::Response<CheckBody>
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<StdError> + Unpin + Send + 'static,
{
    // What comes whole in one frame needs no timer, no budget and no box: going
    // the other way anyway takes 3 % more CPU (`make bench ARGS=grpc`,
    // known token).
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
    let message = match &first {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().and_then(framing::whole_message),
        _ => None,
    };
    match message.filter(|_| body.is_end_stream()) {
        Some(message) => framing::reply(check(&inner.config, &Message(message)).await),
        // Boxed, so that the future of every other call is smaller. Without this
        // box and that of `check::later`, a check takes 3 % more CPU (`make bench
        // ARGS=grpc`, known token).
        None => Box::pin(respond_later(inner, first, body)).await,
    }
}

/// Responds to a call whose message did not arrive in one frame.
async fn respond_later<B>(inner: &Inner, first: FirstFrame<B>, body: B) -> http::Response<CheckBody>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let Inner { config, unfinished } = inner;
    framing::reply(match unfinished::receive(first, body, unfinished).await {
        Ok(Received { message, _reservation }) => check(config, &Message(message)).await,
        Err(ReceiveError::Reset) => reset(&config.load()),
        // Without its message the call is decided as if it had an empty one.
        Err(error) => {
            warn_throttled(error);
            check(config, &Message(Bytes::new())).await
        }
    })
}

/// The response to a call that the client has reset. The client does not read
/// it, so it is not a decision to be counted or logged; should it be read all
/// the same, it denies.
fn reset(snapshot: &Snapshot) -> Encoded {
    debug!("a call was reset before its message was whole");
    let denial = Decision::deny(Denial::BadRequest, Reason::MalformedRequest);
    response::encode(&snapshot.engine, &Request::default(), &denial)
}

/// Warns that messages can't be received, throttled: each one is also logged as
/// a denied request.
#[cold]
fn warn_throttled(error: ReceiveError) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    match THROTTLE.is_due() {
        true => warn!(why = %error, "check messages can't be received"),
        false => debug!(why = %error, "check message can't be received"),
    }
}

/// The bytes of a `CheckRequest`.
struct Message(Bytes);

impl Exchange for Message {
    type Scratch = Names;
    type Response = Encoded;

    fn request<'a>(&'a self, names: &'a Names) -> Request<'a> {
        check_request(&self.0, names).unwrap_or_default()
    }

    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Encoded {
        response::encode(engine, request, decision)
    }
}
