//! The settings of the service: the `server` block, and the `auth` block that
//! [`claimgate_core::settings`] describes.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use claimgate_core::settings::{AuthSettings, KeyLocation, ProviderKind};

/// Everything `claimgate serve` needs to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listeners.
    pub server: ServerSettings,
    /// The rules of decisions.
    pub auth: AuthSettings,
}

/// The `server` block.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// The gRPC listener.
    pub grpc: GrpcSettings,
    /// `host:port` of the admin listener.
    pub admin_address: String,
    /// Whether the admin listener has the status page; `None` is yes where it
    /// is bound to a loopback address.
    pub status_page: Option<bool>,
    /// gRPC worker threads; `None` takes the cores available.
    pub workers: Option<NonZeroUsize>,
    /// How long a decision may wait for I/O.
    pub check_timeout: Duration,
    /// How long a drain may take after SIGTERM.
    pub shutdown_grace: Duration,
    /// Where spans go; `None` makes none.
    pub tracing: Option<TracingSettings>,
}

/// `server.tracing`: spans for an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// An http or https URL without user, query and fragment.
    pub endpoint: String,
    /// How spans are sent there.
    pub protocol: OtlpProtocol,
    /// The share, from 0 to 1, of requests outside of any trace that begin
    /// one. Those inside of one follow their caller.
    pub sample_ratio: f64,
    /// PEM roots trusted on top of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A transport of the OpenTelemetry protocol (OTLP 1.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, usually on port 4317.
    Grpc,
    /// Protobuf over HTTP, usually on port 4318.
    Http,
}

/// The gRPC listener.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcSettings {
    /// Where to listen.
    pub address: ListenAddress,
    /// `None` serves plaintext HTTP/2 (h2c).
    pub tls: Option<TlsSettings>,
    /// How many connections there may be at a time.
    pub max_connections: NonZeroUsize,
    /// About how old a connection may get before its client is told to open
    /// another; `None` sets no limit.
    pub max_connection_age: Option<Duration>,
}

/// Far more than the worker threads of all Envoys that one instance serves.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The address of a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenAddress {
    /// `host:port`.
    Tcp(String),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// TLS for the gRPC listener; the files are re-read when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// PEM certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
    /// PEM roots that client certificates must chain to; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
    /// DNS or URI subject alternative names, one of which a client
    /// certificate must hold; empty allows every certificate of the roots.
    pub allowed_client_sans: Vec<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            grpc: GrpcSettings {
                address: ListenAddress::Tcp("0.0.0.0:9001".into()),
                tls: None,
                max_connections: MAX_CONNECTIONS,
                max_connection_age: None,
            },
            admin_address: "0.0.0.0:9003".into(),
            status_page: None,
            workers: None,
            check_timeout: Duration::from_millis(150),
            shutdown_grace: Duration::from_secs(20),
            tracing: None,
        }
    }
}

impl Settings {
    /// Every file that these settings name, to be watched for changes.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(tls) = &self.server.grpc.tls {
            files.extend([tls.cert_file.clone(), tls.key_file.clone()]);
            files.extend(tls.client_ca_file.clone());
        }
        files.extend(self.server.tracing.as_ref().and_then(|it| it.ca_file.clone()));
        for provider in &self.auth.providers {
            match &provider.kind {
                ProviderKind::ApiKey(_) => {}
                ProviderKind::OAuth2(oauth2) => {
                    if let KeyLocation::File(path) = &oauth2.keys.location {
                        files.push(path.clone());
                    }
                    files.extend(oauth2.keys.ca_file.clone());
                    files.extend(oauth2.keys.fetch_token_file.clone());
                }
                ProviderKind::Grpc(grpc) => files.extend(grpc.ca_file.clone()),
            }
        }
        files
    }
}
