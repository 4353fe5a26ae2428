//! The `server` block.

use super::{
    block,
    forms::{List, Workers},
};

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
        /// Milliseconds that a decision may wait for I/O before it is given
        /// up with 503. Keep it under Envoy's own timeout (200 by default).
        #[schemars(extend("default" = 150), range(min = 1))]
        check_timeout_ms: Option<u64>,
        /// Seconds that requests in flight get to finish after SIGTERM.
        #[schemars(extend("default" = 20))]
        shutdown_grace_seconds: Option<u64>,
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
        /// client certificate is asked for.
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
        /// configuration and who was denied what, to everybody who can reach
        /// the port. Left out, it is there if the address is a loopback one.
        status_page: Option<bool>,
    }
}
