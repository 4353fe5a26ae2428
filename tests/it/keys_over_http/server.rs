//! An issuer's web server, scripted by the test.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    serve::Listener,
};
use http::{HeaderMap, StatusCode, header};
use rcgen::KeyPair;
use rustls::{
    ConfigBuilder, ServerConfig,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::CertificateDer,
    server::WantsServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::support::authority::{Authority, dns};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Path and query as they were on the wire.
    pub(super) target: String,
    /// Its header fields.
    pub(super) headers: HeaderMap,
}

impl Seen {
    /// A header's value, or an empty string.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Script = Box<dyn Fn(&Seen) -> Response + Send>;

/// A server on a loopback port. It stops when it is dropped.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    script: Mutex<Script>,
    held: watch::Sender<bool>,
}

impl Server {
    /// A server that answers as `script` says.
    pub(super) async fn new(script: impl Fn(&Seen) -> Response + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// The same on a port of the test's choice.
    pub(super) fn on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Response + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        Self::serve("http", address, listener, Box::new(script))
    }

    /// A server with a certificate for `localhost` from a private authority,
    /// whose root it writes to `ca_file`.
    pub(super) async fn tls(
        ca_file: &Path,
        script: impl Fn(&Seen) -> Response + Send + 'static,
    ) -> Self {
        let authority = Authority::new();
        std::fs::write(ca_file, authority.pem()).unwrap();
        let (leaf, key) = authority.issue(dns("localhost"));
        Self::with_certificate(vec![leaf.der().clone()], key, script).await
    }

    /// A server with this certificate chain.
    pub(super) async fn with_certificate(
        chain: Vec<CertificateDer<'static>>,
        key: KeyPair,
        script: impl Fn(&Seen) -> Response + Send + 'static,
    ) -> Self {
        let config = tls().with_single_cert(chain, key.into()).unwrap();
        Self::over_tls(config, script).await
    }

    /// A server that shows a certificate whose key it does not have.
    pub(super) async fn with_wrong_key(
        chain: Vec<CertificateDer<'static>>,
        key: KeyPair,
        script: impl Fn(&Seen) -> Response + Send + 'static,
    ) -> Self {
        let key = any_supported_type(&key.into()).unwrap();
        let shown = CertifiedKey::new(chain, key);
        let resolver = SingleCertAndKey::from(shown);
        Self::over_tls(tls().with_cert_resolver(Arc::new(resolver)), script).await
    }

    async fn over_tls(
        config: ServerConfig,
        script: impl Fn(&Seen) -> Response + Send + 'static,
    ) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
        Self::serve("https", address, listener, Box::new(script))
    }

    fn serve<L>(scheme: &'static str, address: SocketAddr, listener: L, script: Script) -> Self
    where
        L: Listener<Addr = SocketAddr>,
    {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            script: Mutex::new(script),
            held: watch::channel(false).0,
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, scheme, shared, task }
    }

    /// The URL of something on this server.
    pub(super) fn url(&self, target: &str) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}{target}", self.address.port()),
            scheme => format!("{scheme}://{}{target}", self.address),
        }
    }

    /// Answers differently from now on.
    pub(super) fn now(&self, script: impl Fn(&Seen) -> Response + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Accepts requests and delays their responses.
    pub(super) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Releases the responses.
    pub(super) fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The paths of the requests so far.
    pub(super) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.target).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let target = request.uri().path_and_query().unwrap().to_string();
    let seen = Seen { target, headers: request.headers().clone() };
    shared.seen.lock().unwrap().push(seen.clone());
    shared.held.subscribe().wait_for(|held| !held).await.unwrap();
    let script = shared.script.lock().unwrap();
    script(&seen)
}

/// An answer of this status with this body.
pub(super) fn status(status: u16, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A redirect.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = status(302, "");
    response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
    response
}

/// A JWK Set with an Ed25519 key for each of these names.
pub(super) fn jwks(kids: &[&str]) -> String {
    json!({ "keys": kids.iter().map(|kid| jwk(kid)).collect::<Vec<_>>() }).to_string()
}

/// An Ed25519 key that depends on its name alone.
fn jwk(kid: &str) -> Value {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    let mut seed = [0; 32];
    seed[..kid.len()].copy_from_slice(kid.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let x = base64_simd::URL_SAFE_NO_PAD.encode_to_string(pair.public_key().as_ref());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
}

/// TLS on top of TCP; a failed handshake is the client's business.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn tls() -> ConfigBuilder<ServerConfig, WantsServerCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
}
