//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A call is received, checked ([`crate::check`]) and answered here. It never
//! ends in an RPC error for anything that a client of Envoy can bring about:
//! Envoy would then decide by its failure mode. What can't be read, what does
//! not arrive in time and what finds no room is decided as an empty request.
//! A call that the client has reset is not decided at all.

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
    answer::{self, Encoded},
    decode::{Names, check_request},
    framing::{self, CheckBody},
    unfinished::{self, Budget, First, NoMessage, Whole},
};
use crate::{
    check::{ConfigHandle, Exchange, Snapshot, check},
    decision::{Decision, Denial},
    engine::Engine,
    reason::Reason,
    request::Request,
    telemetry::Seldom,
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
    /// Decides by the configuration that `config` has in force.
    pub fn new(config: ConfigHandle) -> Self {
        Self::with_budget(config, Budget::default())
    }

    /// As [`Self::new`]; messages that are not whole yet are held within
    /// `budget`, which several services may share.
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

/// Answers one call.
async fn respond<B>(inner: &Inner, mut body: B) -> http::Response<CheckBody>
where
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
        Some(message) => framing::reply(check(&inner.config, &Message(message)).await),
        // In a box, so that no other call has to carry room for it. Without this
        // box and that of `check::later`, a check takes 3 % more CPU (`make bench
        // ARGS=grpc`, known token).
        None => Box::pin(respond_later(inner, first, body)).await,
    }
}

/// Answers a call whose message has not come in one frame.
async fn respond_later<B>(inner: &Inner, first: First<B>, body: B) -> http::Response<CheckBody>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let Inner { config, unfinished } = inner;
    framing::reply(match unfinished::receive(first, body, unfinished).await {
        Ok(Whole { message, _share }) => check(config, &Message(message)).await,
        Err(NoMessage::Reset) => reset(&config.load()),
        // Without its message the call is decided as if it had an empty one.
        Err(why) => {
            warn_of(why);
            check(config, &Message(Bytes::new())).await
        }
    })
}

/// The answer to a call that the client has reset. The client does not read
/// it, so it is not a decision to be counted or logged; were it read all the
/// same, it denies.
fn reset(snapshot: &Snapshot) -> Encoded {
    debug!("a call was reset before its message was whole");
    let denial = Decision::deny(Denial::BadRequest, Reason::MalformedRequest);
    answer::encode(&snapshot.engine, &Request::default(), &denial)
}

/// Warns that messages can't be received, though not about every one: each
/// has a line as a denied request anyhow.
#[cold]
fn warn_of(why: NoMessage) {
    static SELDOM: Seldom = Seldom::new();
    match SELDOM.is_due() {
        true => warn!(%why, "check messages can't be received"),
        false => debug!(%why, "check message can't be received"),
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
        answer::encode(engine, request, decision)
    }
}
