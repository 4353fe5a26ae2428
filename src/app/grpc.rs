//! The gRPC services of a worker.

use std::{convert::Infallible, fmt};

use futures_util::{
    TryFutureExt,
    future::{Either, MapOk},
};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{body::Body, codegen::Service, service::Routes};

use crate::{
    check::ConfigHandle,
    envoy::{
        SERVICE_NAME,
        framing::CheckBody,
        service::AuthorizationServer,
        unfinished::{Budget, MeteredBody},
    },
};

/// All gRPC services of a worker.
///
/// Each worker has one of its own: what its connections share is counted on
/// its core alone, without which a call takes 4 % longer on two threads. Checks
/// do not go through tonic's router: with its two boxes and its look-up by path
/// they take 11 % more CPU (`make bench ARGS=grpc`, known token).
#[derive(Clone)]
pub(crate) struct Services {
    checks: AuthorizationServer,
    others: Routes,
    /// The memory for unfinished messages, shared by all workers.
    unfinished: Budget,
}

impl Services {
    /// The check service by the current configuration, and `others` beside it.
    pub(crate) fn new(config: &ConfigHandle, others: Routes, unfinished: Budget) -> Self {
        let checks = AuthorizationServer::with_budget(config.clone(), unfinished.clone());
        Self { checks, others: others.prepare(), unfinished }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = Response<CheckBody>;
    type Error = Infallible;
    type Future = Either<
        <AuthorizationServer as Service<Request<Incoming>>>::Future,
        MapOk<
            <Routes as Service<Request<MeteredBody<Incoming>>>>::Future,
            fn(Response<Body>) -> Response<CheckBody>,
        >,
    >;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if is_for(SERVICE_NAME, request.uri().path()) {
            Either::Left(self.checks.clone().call(request))
        } else {
            let request = request.map(|body| MeteredBody::new(body, &self.unfinished));
            Either::Right(self.others.clone().call(request).map_ok(into_check_body))
        }
    }
}

fn into_check_body(response: Response<Body>) -> Response<CheckBody> {
    response.map(CheckBody::Right)
}

/// Whether a path is `/service/…`.
fn is_for(service: &str, path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    rest.is_some_and(|rest| rest.starts_with('/'))
}
