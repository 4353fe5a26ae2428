//! The `server` block.

use deserr::Deserr;
use schemars::JsonSchema;

use super::{
    block::block,
    forms::{List, Workers},
};
use crate::problems::Problems;

block! {
    /// Where and how the service listens.
    struct Server {
        /// The listener that Envoy connects to.
        grpc: Option<Grpc>,
        /// The HTTP listener for `/livez`, `/readyz` and `/metrics`.
        admin: Option<Admin>,
        /// gRPC worker threads; `auto` takes the available cores.
        #[schemars(extend("default" = "auto"))]
        workers: Option<Workers>,
        /// Milliseconds that a decision may wait for I/O before it ends with
        /// 503. Keep it under Envoy's own timeout (200 by default).
        #[schemars(extend("default" = 150), range(min = 1))]
        check_timeout_ms: Option<u64>,
        /// Seconds that requests in flight get to finish after SIGTERM.
        #[schemars(extend("default" = 20))]
        shutdown_grace_seconds: Option<u64>,
        /// Spans for an OpenTelemetry collector; left out, there are no spans.
        tracing: Option<Tracing>,
    }
}

block! {
    /// The gRPC listener.
    struct Grpc {
        /// `host:port`, `[::]:port` or `unix:/path/to/socket`.
        #[schemars(extend("default" = "0.0.0.0:9001"))]
        address: Option<String>,
        /// TLS for this listener; left out, it is plaintext HTTP/2 (h2c).
        tls: Option<Tls>,
        /// Connections at a time. Beyond them, connections without a request so
        /// far are closed for new ones; if there are none, new ones are closed.
        /// If the process may open fewer files, fewer are accepted.
        #[schemars(extend("default" = 10000), range(min = 1))]
        max_connections: Option<u64>,
        /// Seconds, give or take a tenth, after which a client is told (GOAWAY)
        /// to open another connection, so that new instances behind a balancer
        /// of connections get their share; no request is lost. Left out, a
        /// connection has no limit.
        #[schemars(range(min = 1))]
        max_connection_age_seconds: Option<u64>,
    }
}

block! {
    /// TLS for the gRPC listener. The files are read again when they change.
    struct Tls {
        /// PEM certificate chain, leaf first.
        #[schemars(required)]
        cert_file: Option<String>,
        /// PEM private key.
        #[schemars(required)]
        key_file: Option<String>,
        /// PEM roots that client certificates must chain to; left out, no
        /// client certificate is requested.
        client_ca_file: Option<String>,
        /// DNS or URI subject alternative names, one of which a client
        /// certificate must hold; needs `client_ca_file`.
        allowed_client_sans: Option<List<String>>,
    }
}

block! {
    /// The admin listener.
    struct Admin {
        /// `host:port` or `[::]:port`.
        #[schemars(extend("default" = "0.0.0.0:9003"))]
        address: Option<String>,
        /// Whether `/` is the status page, which shows names of the
        /// configuration and the last denials to every client that can reach
        /// the port. Left out, it is on if the address is a loopback one.
        status_page: Option<bool>,
    }
}

block! {
    /// Spans for an OpenTelemetry collector.
    struct Tracing {
        /// `http://host:port` or `https://host:port` of the collector. With
        /// `protocol: http`, `/v1/traces` is added unless the URL ends so.
        #[schemars(required)]
        otlp_endpoint: Option<String>,
        /// How spans are sent: `grpc` (the collector's port 4317) or `http`
        /// (protobuf; port 4318).
        #[schemars(extend("default" = "grpc"))]
        protocol: Option<OtlpProtocol>,
        /// The share of requests without a valid `traceparent` that begin a
        /// trace, from 0 to 1. Others are traced if their caller traces them.
        #[schemars(extend("default" = 0.0), range(min = 0, max = 1))]
        sample_ratio: Option<f64>,
        /// PEM roots trusted on top of the system's, for an https collector.
        ca_file: Option<String>,
    }
}

#[derive(Clone, Copy, Deserr, JsonSchema)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum OtlpProtocol {
    /// gRPC.
    #[deserr(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP.
    #[deserr(rename = "http")]
    Http,
}
