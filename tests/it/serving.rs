//! The gRPC server's connections and the admin port, over real sockets.

use std::{
    convert::Infallible, future::Future, num::NonZeroUsize, path::PathBuf, sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use claimgate::{
    admin,
    app::{
        connection::Tls,
        connection_age::MaxAge,
        listen::{BoundAddress, Listener},
        server::{Drained, Server},
        tls,
    },
    readiness::Readiness,
    settings::{ListenAddress, TlsSettings},
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client::conn::http2::SendRequest, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::SanType;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    authority::{Authority, dns, uri},
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(20);

/// A server that delays its responses until its gate is open.
struct Fixture {
    server: Arc<Server>,
    tls: Tls,
    gate: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl Fixture {
    async fn start(address: &ListenAddress, workers: usize) -> Self {
        Self::with_max_age(address, workers, MaxAge::default()).await
    }

    async fn with_max_age(address: &ListenAddress, workers: usize, max_age: MaxAge) -> Self {
        let listener = Listener::bind("server.grpc.address", address).await.unwrap();
        let tls = Tls::default();
        let gate = watch::Sender::new(true);
        let waiting = watch::Sender::new(0);
        let service = || {
            let (gate, waiting) = (gate.clone(), waiting.clone());
            service_fn(move |_: Request<Incoming>| {
                let (mut gate, waiting) = (gate.subscribe(), waiting.clone());
                async move {
                    waiting.send_modify(|waiting| *waiting += 1);
                    let _ = gate.wait_for(|open| *open).await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"served"))))
                }
            })
        };
        let workers = NonZeroUsize::new(workers).unwrap();
        let server = Arc::new(Server::start(listener, workers, &tls, max_age, service).unwrap());
        let accepting = accept(&server);
        Self { server, tls, gate, waiting, accepting }
    }

    async fn tcp(workers: usize) -> Self {
        Self::start(&ListenAddress::Tcp("127.0.0.1:0".into()), workers).await
    }

    fn counts(&self) -> Vec<usize> {
        self.server.workers().connections().collect()
    }

    async fn connect(&self) -> TcpStream {
        let BoundAddress::Tcp(address) = self.server.address() else { panic!("not TCP") };
        TcpStream::connect(address).await.unwrap()
    }

    async fn client(&self) -> Client {
        Client::new(self.connect().await).await
    }

    /// The TLS client's side of a connection, at least its handshake done.
    async fn secure(&self, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, self.connect().await).await
    }

    async fn drain(self, grace: Duration) -> Drained {
        self.accepting.abort();
        let _ = self.accepting.await;
        Arc::into_inner(self.server).unwrap().drain(grace).await
    }
}

fn accept(server: &Arc<Server>) -> JoinHandle<()> {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        server.accept().await;
    })
}

/// One HTTP/2 connection.
struct Client {
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::try_new(stream).await.unwrap()
    }

    async fn try_new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let executor = TokioExecutor::new();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: tokio::spawn(connection) })
    }

    fn call(&mut self) -> impl Future<Output = hyper::Result<Bytes>> + use<> {
        let request = Request::post("http://localhost/").body(Empty::new()).unwrap();
        let answer = self.sender.send_request(request);
        async { Ok(answer.await?.into_body().collect().await?.to_bytes()) }
    }

    async fn is_served(&mut self) -> bool {
        timeout(LIMIT, self.call()).await.unwrap().is_ok_and(|body| body == "served")
    }
}

#[tokio::test]
async fn each_connection_goes_to_the_worker_with_the_fewest() {
    let fixture = Fixture::tcp(3).await;
    let spread = |counts: &[usize]| counts.iter().max().unwrap() - counts.iter().min().unwrap();

    let mut clients = Vec::new();
    for opened in 1..=8 {
        clients.push(fixture.client().await);
        assert!(clients.last_mut().unwrap().is_served().await);
        let counts = fixture.counts();
        assert_eq!(counts.iter().sum::<usize>(), opened);
        assert!(spread(&counts) <= 1, "{counts:?}");
    }

    // Connections end on any worker, here all on the same one ...
    for index in [6, 3, 0] {
        drop(clients.remove(index));
    }
    eventually("three have left", async || fixture.counts().iter().sum::<usize>() == 5).await;
    assert_eq!(spread(&fixture.counts()), 3, "{:?}", fixture.counts());

    // ... and new ones fill the gap before anything else.
    for _ in 0..3 {
        let before = fixture.counts();
        clients.push(fixture.client().await);
        assert!(clients.last_mut().unwrap().is_served().await);
        let after = fixture.counts();
        let taker = (0..3).find(|&worker| after[worker] > before[worker]).unwrap();
        assert_eq!(before[taker], *before.iter().min().unwrap(), "{before:?} {after:?}");
    }
    assert!(spread(&fixture.counts()) <= 1, "{:?}", fixture.counts());
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authz.sock");
    let fixture = Fixture::start(&ListenAddress::Unix(path.clone()), 2).await;
    let mut client = Client::new(UnixStream::connect(&path).await.unwrap()).await;
    assert!(client.is_served().await);
    assert_eq!(fixture.counts(), [1, 0]);
    drop(client);
    assert_eq!(fixture.drain(GRACE).await, Drained::InTime);
    assert!(!path.exists());
}

/// With GOAWAY, after which the calls in flight are answered and the connection
/// ends in good order.
#[tokio::test]
async fn an_old_connection_is_replaced() {
    let age = MaxAge::new(Some(Duration::from_millis(300)));
    let any = ListenAddress::Tcp("127.0.0.1:0".into());
    let fixture = Fixture::with_max_age(&any, 2, age).await;
    let mut old = fixture.client().await;
    assert!(old.is_served().await);
    fixture.gate.send_replace(false);
    let mut in_flight = Vec::new();
    eventually("the client learns that it must go", async || {
        let refused = in_flight.extract_if(.., |call: &mut JoinHandle<_>| call.is_finished());
        let is_refused = refused.count() > 0;
        in_flight.push(tokio::spawn(old.call()));
        is_refused
    })
    .await;
    eventually("all others are being served", async || {
        in_flight.retain(|call| !call.is_finished());
        in_flight.len() + 1 == *fixture.waiting.borrow()
    })
    .await;
    assert!(!in_flight.is_empty());
    assert_eq!(fixture.counts().iter().sum::<usize>(), 1, "the connection waits for them");
    let mut young = fixture.client().await;
    let another = tokio::spawn(young.call());
    eventually("so is a new connection's", async || {
        in_flight.len() + 2 == *fixture.waiting.borrow()
    })
    .await;

    fixture.gate.send_replace(true);
    for call in in_flight.into_iter().chain([another]) {
        assert_eq!(timeout(LIMIT, call).await.unwrap().unwrap().unwrap(), "served");
    }
    assert!(old.connection.await.unwrap().is_ok(), "it ended in good order");
    drop(young);
    eventually("none is left", async || fixture.counts().iter().sum::<usize>() == 0).await;
}

#[tokio::test]
async fn a_drain_answers_requests_in_flight_and_late_connections() {
    let fixture = Fixture::tcp(2).await;
    let (gate, waiting) = (fixture.gate.clone(), fixture.waiting.clone());
    let BoundAddress::Tcp(address) = fixture.server.address().clone() else { panic!("not TCP") };
    let connect = || async { Client::new(TcpStream::connect(address).await.unwrap()).await };

    gate.send_replace(false);
    let mut early = connect().await;
    let mut in_flight: Vec<_> = (0..50).map(|_| tokio::spawn(early.call())).collect();
    eventually("all are being served", async || *waiting.borrow() == 50).await;

    let drain = tokio::spawn(fixture.drain(GRACE));
    eventually("the client learns that it must go", async || {
        let refused = in_flight.extract_if(.., |call| call.is_finished()).count() > 0;
        in_flight.push(tokio::spawn(early.call()));
        refused
    })
    .await;
    eventually("all are told apart", async || {
        in_flight.retain(|call| !call.is_finished());
        in_flight.len() == *waiting.borrow()
    })
    .await;
    let mut late = connect().await;
    let late_call = tokio::spawn(late.call());
    eventually("the late call is being served", async || *waiting.borrow() == in_flight.len() + 1)
        .await;
    assert!(!drain.is_finished());

    gate.send_replace(true);
    for call in in_flight.into_iter().chain([late_call]) {
        assert_eq!(timeout(LIMIT, call).await.unwrap().unwrap().unwrap(), "served");
    }
    assert_eq!(timeout(LIMIT, drain).await.unwrap().unwrap(), Drained::InTime);
    assert!(early.connection.await.unwrap().is_ok(), "the connection ended in good order");
    assert!(TcpStream::connect(address).await.is_err(), "the listener is gone");
}

#[tokio::test]
async fn a_drain_ends_with_the_grace_period() {
    let fixture = Fixture::tcp(1).await;
    fixture.gate.send_replace(false);
    let waiting = fixture.waiting.clone();
    let mut client = fixture.client().await;
    let call = tokio::spawn(client.call());
    eventually("it is being served", async || *waiting.borrow() == 1).await;
    let drained = timeout(LIMIT, fixture.drain(Duration::from_millis(200))).await.unwrap();
    assert_eq!(drained, Drained::Cut { connections: 1 });
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_drain_without_clients_ends_at_once() {
    let fixture = Fixture::tcp(2).await;
    let drained = timeout(Duration::from_millis(500), fixture.drain(GRACE)).await;
    assert_eq!(drained, Ok(Drained::InTime));
}

/// After a stall Envoy gives up on many checks at once; the connection and
/// the other checks on it must live.
#[tokio::test]
async fn a_burst_of_resets_leaves_the_connection_alone() {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [head.as_slice(), payload].concat()
    }
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const END_HEADERS: u8 = 4;
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    // `:method: POST`, `:scheme: http` and `:path: /` of the static table.
    const REQUEST: [u8; 3] = [0x83, 0x86, 0x84];

    let fixture = Fixture::tcp(1).await;
    let mut stream = fixture.connect().await;
    let mut burst = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    burst.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in (1..2000).step_by(2) {
        burst.extend(frame(HEADERS, END_HEADERS, stream, &REQUEST));
        burst.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    burst.extend(frame(PING, 0, 0, b"surviver"));
    stream.write_all(&burst).await.unwrap();

    loop {
        let mut head = [0; 9];
        timeout(LIMIT, stream.read_exact(&mut head)).await.unwrap().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], payload.as_slice()) {
            (GOAWAY, _) => panic!("the connection was ended"),
            (PING, b"surviver") => break,
            _ => {}
        }
    }
}

/// An authority and the files that it fills.
struct Files {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new() };
        std::fs::write(files.at("ca.pem"), files.authority.pem()).unwrap();
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues the server's certificate; `allowed` turns client certificates on.
    fn serve(&self, allowed: Option<&[&str]>) -> TlsSettings {
        let (certificate, key) = self.authority.issue(dns("localhost"));
        std::fs::write(self.at("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.at("key.pem"), key.serialize_pem()).unwrap();
        let allowed_client_sans = allowed.into_iter().flatten().map(ToString::to_string).collect();
        TlsSettings {
            cert_file: self.at("cert.pem"),
            key_file: self.at("key.pem"),
            client_ca_file: allowed.map(|_| self.at("ca.pem")),
            allowed_client_sans,
        }
    }

    fn client(&self, certificate: Option<SanType>, alpn: &[u8]) -> ClientConfig {
        let mut config = match certificate {
            Some(name) => {
                let (certificate, key) = self.authority.issue(name);
                let chain = vec![certificate.der().clone()];
                self.authority.client().with_client_auth_cert(chain, key.into()).unwrap()
            }
            None => self.authority.client().with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }
}

/// Whether a request over this connection is answered. In TLS 1.3 a client
/// learns only then that its certificate was refused.
async fn is_let_in(fixture: &Fixture, client: ClientConfig) -> bool {
    let Ok(stream) = fixture.secure(client).await else { return false };
    let Ok(mut client) = Client::try_new(stream).await else { return false };
    client.is_served().await
}

#[tokio::test]
async fn tls_speaks_http_2_and_nothing_else() {
    let authority = Files::new();
    let fixture = Fixture::tcp(1).await;
    fixture.tls.store(Some(tls::read(&authority.serve(None)).unwrap()));
    assert!(is_let_in(&fixture, authority.client(None, b"h2")).await);
    assert!(!is_let_in(&fixture, authority.client(None, b"http/1.1")).await);
    assert!(!is_let_in(&fixture, Files::new().client(None, b"h2")).await);
    let mut plaintext = fixture.client().await;
    assert!(!plaintext.is_served().await);
}

#[tokio::test]
async fn client_certificates_are_checked_by_root_and_by_name() {
    let spiffe = "spiffe://cluster.local/ns/istio-system/sa/gateway";
    let authority = Files::new();
    let stranger = Files::new();
    let own = |name| authority.client(name, b"h2");
    let foreign = |name| {
        let mut config = authority.client(None, b"h2");
        let other = stranger.client(Some(name), b"h2");
        config.client_auth_cert_resolver = other.client_auth_cert_resolver;
        config
    };

    let fixture = Fixture::tcp(1).await;
    fixture.tls.store(Some(tls::read(&authority.serve(Some(&[]))).unwrap()));
    assert!(is_let_in(&fixture, own(Some(dns("anyone")))).await, "any name of the root");
    assert!(!is_let_in(&fixture, own(None)).await, "no certificate");
    assert!(!is_let_in(&fixture, foreign(dns("anyone"))).await, "another root");

    let allowed = authority.serve(Some(&["envoy.example.com", spiffe]));
    fixture.tls.store(Some(tls::read(&allowed).unwrap()));
    assert!(is_let_in(&fixture, own(Some(dns("envoy.example.com")))).await);
    assert!(is_let_in(&fixture, own(Some(uri(spiffe)))).await);
    assert!(!is_let_in(&fixture, own(Some(dns("other.example.com")))).await);
    assert!(!is_let_in(&fixture, own(Some(uri(&format!("{spiffe}-2"))))).await);
    assert!(!is_let_in(&fixture, own(Some(SanType::Rfc822Name(spiffe.try_into().unwrap())))).await);
    assert!(!is_let_in(&fixture, foreign(dns("envoy.example.com"))).await);
    assert!(!is_let_in(&fixture, own(None)).await);
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_leaves_the_old_ones() {
    let presented = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let authority = Files::new();
    let fixture = Fixture::tcp(1).await;
    fixture.tls.store(Some(tls::read(&authority.serve(None)).unwrap()));
    let before = fixture.secure(authority.client(None, b"h2")).await.unwrap();
    let first = presented(&before);
    let mut before = Client::new(before).await;
    assert!(before.is_served().await);

    fixture.tls.store(Some(tls::read(&authority.serve(None)).unwrap()));
    let after = fixture.secure(authority.client(None, b"h2")).await.unwrap();
    assert_ne!(presented(&after), first);
    assert!(before.is_served().await);
}

#[tokio::test]
async fn a_silent_client_delays_no_other_client() {
    let authority = Files::new();
    let fixture = Fixture::tcp(1).await;
    fixture.tls.store(Some(tls::read(&authority.serve(None)).unwrap()));
    let _silent = fixture.connect().await;
    eventually("it is there", async || fixture.counts() == [1]).await;
    assert!(is_let_in(&fixture, authority.client(None, b"h2")).await);
}

/// The admin port and a way to ask it.
struct Admin {
    address: String,
    readiness: Readiness,
}

impl Admin {
    async fn start() -> Self {
        let readiness = Readiness::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = admin::router(readiness.clone(), || "claimgate_build_info 1\n".into());
        tokio::spawn(admin::serve(listener, router, 256));
        Self { address, readiness }
    }

    async fn ask(&self, method: &str, path: &str) -> (StatusCode, String, String) {
        let method = method.parse().unwrap();
        let url = format!("http://{}{path}", self.address);
        let answer = reqwest::Client::new().request(method, url).send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().into());
        (answer.status(), kind.unwrap_or_default(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn the_admin_port_answers() {
    let admin = Admin::start().await;
    let (status, _, body) = admin.ask("GET", "/livez").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));
    let (status, _, body) = admin.ask("HEAD", "/livez").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    let (status, kind, body) = admin.ask("GET", "/metrics").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "claimgate_build_info 1\n"));
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert_eq!(admin.ask("GET", "/").await.0, StatusCode::NOT_FOUND);
    assert_eq!(admin.ask("POST", "/readyz").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let admin = Admin::start().await;
    let readyz = || async {
        let (status, _, body) = admin.ask("GET", "/readyz").await;
        (status.as_u16(), body)
    };
    assert_eq!(readyz().await, (503, "starting\n".into()));
    let missing = ["cognito: no keys yet", "okta: no keys yet"];
    admin.readiness.set_missing(missing.map(Into::into).into());
    assert_eq!(readyz().await, (503, "cognito: no keys yet\nokta: no keys yet\n".into()));
    admin.readiness.set_missing(Vec::new());
    assert_eq!(readyz().await, (200, "ok\n".into()));
    admin.readiness.drain();
    assert_eq!(readyz().await, (503, "shutting down\n".into()));
    assert_eq!(admin.ask("GET", "/livez").await.0, StatusCode::OK);
}
