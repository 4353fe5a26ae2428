//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A call is read, decided, answered, counted and logged here. It never ends
//! in an RPC error for anything that a client of Envoy can bring about:
//! Envoy would then decide by its failure mode. What can't be read is decided
//! as an empty request, what takes too long and what panics is denied.

use std::{
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt;
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
    log,
};
use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    metrics::CheckMeters,
    reason::Reason,
    request::Request,
    time::UnixTime,
};

/// Everything that one configuration decides with.
pub struct Live {
    /// Decides.
    pub engine: Engine,
    /// Counts.
    pub meters: CheckMeters,
    /// How long a decision may wait for somebody.
    pub check_timeout: Duration,
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
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != CHECK {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let checker = Arc::clone(&self.checker);
        Box::pin(async move { Ok(respond(checker, request).await) })
    }
}

/// Answers one call.
async fn respond<C, B>(checker: Arc<C>, request: http::Request<B>) -> http::Response<Body>
where
    C: Checker,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    let mut grpc = Grpc::new(CheckCodec).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let response = grpc.unary(Check(&checker), request).await;
    if !response.headers().contains_key(GRPC_STATUS) {
        return response;
    }
    // Tonic could not read the message: it was over the limit, say.
    warn!(status = ?response.headers().get(GRPC_STATUS), "check message can't be read");
    grpc.unary(Check(&checker), http::Request::new(Body::new(EmptyMessage))).await
}
