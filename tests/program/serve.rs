//! The whole service from its config file on: in this process where orders
//! can be given by hand, as a process of its own where signals and exit codes
//! matter.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use claimgate::app::{App, Ended, listen::BoundAddress, server::Drained, signals::Order};
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse,
    attribute_context::{HttpRequest, Request as AttributeRequest},
    authorization_client::AuthorizationClient,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Waits for what takes a moment to come true.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{what} did not come true"));
}

/// A folder with a `gateway.yaml` on free ports.
struct Config {
    folder: TempDir,
    /// What else `server.grpc` holds.
    grpc: String,
}

impl Config {
    fn new(auth: &str) -> Self {
        let config = Self { folder: tempfile::tempdir().unwrap(), grpc: String::new() };
        config.write(auth);
        config
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self) -> PathBuf {
        self.at("gateway.yaml")
    }

    fn write(&self, auth: &str) {
        self.write_all("", auth);
    }

    /// Replaces the file in one step, so that nobody reads half of it.
    fn write_all(&self, server: &str, auth: &str) {
        let grpc = format!("grpc: {{address: '127.0.0.1:0'{}}}", self.grpc);
        let admin = "admin: {address: '127.0.0.1:0'}";
        let new = self.at(".new");
        let text = format!("server:\n  {grpc}\n  {admin}\n{server}auth:\n{auth}");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.path()).unwrap();
    }
}

/// An `auth` block with API keys.
fn api_keys(keys: &[&str]) -> String {
    let key = |key: &&str| format!("    - {{name: client-of-{key}, key: {key}}}\n");
    format!("  api_keys:\n{}", keys.iter().map(key).collect::<String>())
}

/// An `auth` block with one issuer.
fn issuer(url: &str, audience: &str) -> String {
    format!("  mode: oauth2\n  oauth2:\n    issuer: {url}\n    audience: {audience}\n")
}

/// The service inside this process.
struct Running {
    grpc: String,
    admin: String,
    orders: mpsc::Sender<Order>,
    app: JoinHandle<Ended>,
}

impl Running {
    async fn start(config: &Config) -> Self {
        let app = App::build(&config.path()).await.unwrap();
        let BoundAddress::Tcp(grpc) = app.grpc_address() else { panic!("not TCP") };
        let (grpc, admin) = (grpc.to_string(), app.admin_address().to_string());
        let (orders, taken) = mpsc::channel(4);
        Self { grpc, admin, orders, app: tokio::spawn(app.run(taken)) }
    }

    async fn stop(self) -> Ended {
        self.orders.send(Order::Stop).await.unwrap();
        timeout(LIMIT, self.app).await.unwrap().unwrap()
    }

    async fn readyz(&self) -> (u16, String) {
        fetch(&self.admin, "/readyz").await
    }

    async fn is_ready(&self) -> bool {
        self.readyz().await.0 == 200
    }

    /// The value of a metric's series, 0 if there is none.
    async fn metric(&self, series: &str) -> f64 {
        let (_, metrics) = fetch(&self.admin, "/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    async fn reloads(&self, result: &str) -> usize {
        let series = format!("claimgate_config_reloads_total{{result=\"{result}\"}}");
        self.metric(&series).await as usize
    }

    async fn health(&self) -> ServingStatus {
        let mut client = HealthClient::new(channel(&self.grpc).await);
        client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
    }
}

async fn fetch(address: &str, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Somebody who asks like Envoy does.
#[derive(Clone)]
struct Envoy(AuthorizationClient<Channel>);

impl Envoy {
    async fn new(address: &str) -> Self {
        Self(AuthorizationClient::new(channel(address).await))
    }

    async fn ask(&mut self, token: &str) -> Result<CheckResponse, tonic::Status> {
        let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
        let http = HttpRequest {
            method: "GET".into(),
            path: "/v1/models".into(),
            headers,
            ..HttpRequest::default()
        };
        let request = AttributeRequest { http: Some(http), ..AttributeRequest::default() };
        let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
        let request = CheckRequest { attributes: Some(attributes) };
        Ok(self.0.check(request).await?.into_inner())
    }

    /// The gRPC code in the answer: 0 allows.
    async fn code(&mut self, token: &str) -> i32 {
        self.ask(token).await.unwrap().status.unwrap().code
    }

    async fn allows(&mut self, token: &str) -> bool {
        self.code(token).await == 0
    }
}

/// Sends request after request until told to stop; panics if one is denied or
/// fails.
fn flow(address: &str, token: &'static str) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let done = Arc::new(AtomicUsize::new(0));
    let (counter, address) = (Arc::clone(&done), address.to_owned());
    let flow = tokio::spawn(async move {
        let mut envoy = Envoy::new(&address).await;
        loop {
            let answer = match envoy.ask(token).await {
                Err(status) if was_never_sent(&status) => continue,
                answer => answer.unwrap(),
            };
            assert_eq!(answer.status.unwrap().code, 0);
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (done, flow)
}

/// This client takes a request for a connection that it was told to leave and
/// gives it back unsent. Envoy takes another connection.
fn was_never_sent(status: &tonic::Status) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(status);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Somebody who publishes keys, and counts how often.
struct Issuer {
    url: String,
    fetches: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Issuer {
    async fn start(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fetches = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&fetches);
        let keys = async move || {
            counter.fetch_add(1, Ordering::Relaxed);
            JWKS
        };
        let router = axum::Router::new().route("/.well-known/jwks.json", axum::routing::get(keys));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, fetches, serving }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The key of RFC 7515, appendix A.3.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

async fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn a_good_file_takes_effect_and_a_bad_one_does_not() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    let mut envoy = Envoy::new(&service.grpc).await;
    assert!(envoy.allows("one").await && !envoy.allows("two").await);

    config.write(&api_keys(&["two"]));
    eventually("the new key is allowed", async || envoy.allows("two").await).await;
    assert!(!envoy.allows("one").await);
    eventually("it is counted", async || service.reloads("success").await == 1).await;

    config.write("  mode: [no, such, mode]\n");
    eventually("the failure is counted", async || service.reloads("failure").await == 1).await;
    assert!(envoy.allows("two").await, "the old configuration stays");
    assert!(service.is_ready().await);

    config.write(&api_keys(&["three"]));
    eventually("the next good file is read", async || envoy.allows("three").await).await;
    assert_eq!(service.stop().await, Ended::Drained(Drained::InTime));
}

#[tokio::test]
async fn an_order_reloads_what_has_not_changed() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    for reloads in 1..=3 {
        service.orders.send(Order::Reload).await.unwrap();
        eventually("it was reloaded", async || service.reloads("success").await == reloads).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_changes() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    let (done, flow) = flow(&service.grpc, "one");
    for round in 1..=5 {
        let before = done.load(Ordering::Relaxed);
        config.write(&api_keys(&["one", &format!("another-{round}")]));
        eventually("it was reloaded", async || service.reloads("success").await == round).await;
        eventually("requests flow", async || done.load(Ordering::Relaxed) > before + 50).await;
    }
    assert!(!flow.is_finished());
    flow.abort();
    service.stop().await;
}

#[tokio::test]
async fn keys_outlive_a_reload_that_does_not_concern_them() {
    let issuing = Issuer::start(free_port().await).await;
    let config = Config::new(&issuer(&issuing.url, "one"));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;
    assert_eq!(issuing.fetches(), 1);

    config.write(&issuer(&issuing.url, "two"));
    eventually("it was reloaded", async || service.reloads("success").await == 1).await;
    assert_eq!(issuing.fetches(), 1, "another audience needs no other keys");

    let other = Issuer::start(free_port().await).await;
    config.write(&issuer(&other.url, "two"));
    eventually("it was reloaded", async || service.reloads("success").await == 2).await;
    assert_eq!(other.fetches(), 1, "fetched before the reload took effect");
    assert_eq!(issuing.fetches(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_new_issuer_that_is_down_changes_nobodys_readiness() {
    let issuing = Issuer::start(free_port().await).await;
    let config = Config::new(&issuer(&issuing.url, "one"));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;

    let down = free_port().await.local_addr().unwrap();
    config.write(&issuer(&format!("http://{down}"), "one"));
    eventually("it was reloaded", async || service.reloads("success").await == 1).await;
    assert!(service.is_ready().await);
    service.stop().await;
}

#[tokio::test]
async fn readiness_waits_for_the_keys_and_ends_with_the_drain() {
    let later = free_port().await;
    let address = later.local_addr().unwrap();
    drop(later);
    let config = Config::new(&issuer(&format!("http://{address}"), "api"));
    let service = Running::start(&config).await;
    let (status, missing) = service.readyz().await;
    assert_eq!(status, 503);
    assert!(missing.contains("no signing keys yet"), "{missing}");
    assert_eq!(service.health().await, ServingStatus::NotServing);

    let _issuer = Issuer::start(TcpListener::bind(address).await.unwrap()).await;
    eventually("it is ready", async || service.is_ready().await).await;
    eventually("health says so", async || service.health().await == ServingStatus::Serving).await;

    // A connection keeps the drain from being over at once.
    let mut watcher = HealthClient::new(channel(&service.grpc).await);
    let request = HealthCheckRequest::default();
    let mut states = watcher.watch(request).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    service.orders.send(Order::Stop).await.unwrap();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(service.readyz().await, (503, "shutting down\n".into()));
    service.orders.send(Order::Stop).await.unwrap();
    assert_eq!(timeout(LIMIT, service.app).await.unwrap().unwrap(), Ended::Interrupted);
}

#[tokio::test]
async fn a_file_that_the_configuration_names_is_watched() {
    let config = Config::new("");
    let keys = config.at("keys.json");
    std::fs::write(&keys, JWKS).unwrap();
    config.write(&format!(
        "  providers:\n    - {{name: local, type: oauth2, issuer: 'https://issuer.example.com', \
         audience: api, jwks_file: {}}}\n",
        keys.display()
    ));
    let service = Running::start(&config).await;
    let count = "claimgate_jwks_keys{provider=\"local\"}";
    assert_eq!(service.metric(count).await, 1.0);

    let mut two: Value = serde_json::from_str(JWKS).unwrap();
    let mut second = two["keys"][0].clone();
    second["kid"] = "b".into();
    two["keys"].as_array_mut().unwrap().push(second);
    std::fs::write(&keys, two.to_string()).unwrap();
    eventually("there are two keys", async || service.metric(count).await == 2.0).await;

    std::fs::write(&keys, "{}").unwrap();
    eventually("the failure is counted", async || service.reloads("failure").await > 0).await;
    assert_eq!(service.metric(count).await, 2.0);
    service.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_served_and_half_a_pair_is_not() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key).unwrap();
    let issue = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let mut config = Config::new(&api_keys(&["one"]));
    let write = |name: &str, text: String| std::fs::write(config.at(name), text).unwrap();
    let (first, first_key) = issue();
    write("tls.crt", first.pem());
    write("tls.key", first_key.serialize_pem());
    config.grpc = format!(
        ", tls: {{cert_file: {}, key_file: {}}}",
        config.at("tls.crt").display(),
        config.at("tls.key").display()
    );
    config.write(&api_keys(&["one"]));
    let service = Running::start(&config).await;

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let presented = async || {
        let stream = TcpStream::connect(&service.grpc).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_eq!(presented().await, *first.der());

    let write = |name: &str, text: String| std::fs::write(config.at(name), text).unwrap();
    let (second, second_key) = issue();
    write("tls.crt", second.pem());
    eventually("the mismatch is counted", async || service.reloads("failure").await == 1).await;
    assert_eq!(presented().await, *first.der());
    write("tls.key", second_key.serialize_pem());
    eventually("it is served", async || presented().await == *second.der()).await;
    service.stop().await;
}

#[tokio::test]
async fn authentication_that_is_off_needs_nobodys_keys() {
    let down = free_port().await.local_addr().unwrap();
    let config =
        Config::new(&format!("  enabled: false\n{}", issuer(&format!("http://{down}"), "a")));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;
    assert!(Envoy::new(&service.grpc).await.allows("anything").await);
    service.stop().await;
}

/// The service as a process of its own.
struct Process {
    child: Child,
    grpc: String,
    stderr: Option<BufReader<std::process::ChildStderr>>,
}

impl Process {
    fn command(config: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
        command.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
        command
    }

    /// Starts it and reads the address from its log.
    fn start(config: &Path, log: &str) -> Self {
        let mut child = Self::command(config).env("RUST_LOG", log).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let grpc = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without listening");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line["grpc"].as_str().unwrap().to_owned();
            }
        };
        Self { child, grpc, stderr: Some(stderr) }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ended", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// The rest of its log; every line is a JSON object.
    fn log(&mut self) -> Vec<Value> {
        let lines = self.stderr.take().unwrap().lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sigterm_fails_no_request_that_was_sent() {
    let config = Config::new(&api_keys(&["one"]));
    let mut process = Process::start(&config.path(), "info");
    let flows: Vec<_> = (0..4).map(|_| flow(&process.grpc, "one")).collect();
    for (done, _) in &flows {
        eventually("requests flow", async || done.load(Ordering::Relaxed) > 100).await;
    }
    process.signal("TERM");
    // They go on: told to go away they come back, as Envoy does until it
    // knows better, and are answered.
    let counts: Vec<_> = flows.iter().map(|(done, _)| done.load(Ordering::Relaxed)).collect();
    for ((done, flow), before) in flows.iter().zip(counts) {
        eventually("requests flow", async || done.load(Ordering::Relaxed) > before + 100).await;
        assert!(!flow.is_finished(), "a request failed");
    }
    for (_, flow) in flows {
        flow.abort();
        assert!(flow.await.unwrap_err().is_cancelled(), "a request failed");
    }
    let start = Instant::now();
    assert!(process.ended().await.success());
    assert!(start.elapsed() < Duration::from_secs(5), "nobody is left to wait for");
    let log = process.log();
    let messages: Vec<_> = log.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, ["ready", "signal received", "shutting down", "drained"]);
    for line in log {
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    // An issuer that accepts and never answers makes a check wait.
    let silent = free_port().await;
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config = Config::new("");
    config.write_all("  check_timeout_ms: 60000\n", &issuer(&url, "api"));
    let mut process = Process::start(&config.path(), "info");
    let mut envoy = Envoy::new(&process.grpc).await;
    let issuer = base64_simd::URL_SAFE_NO_PAD.encode_to_string(format!("{{\"iss\":\"{url}\"}}"));
    let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"ES256","kid":"x"}"#);
    let token = format!("{header}.{issuer}.AAAA");
    let check = tokio::spawn(async move { envoy.ask(&token).await });

    let _asked = timeout(LIMIT, silent.accept()).await.unwrap().unwrap();
    sleep(Duration::from_millis(100)).await;
    process.signal("TERM");
    sleep(Duration::from_millis(300)).await;
    assert!(process.child.try_wait().unwrap().is_none(), "the check keeps it");
    assert!(!check.is_finished());
    let start = Instant::now();
    process.signal("INT");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(check.await.unwrap().is_err());
}

#[tokio::test]
async fn sighup_reloads() {
    let config = Config::new(&api_keys(&["one"]));
    let mut process = Process::start(&config.path(), "info");
    process.signal("HUP");
    let mut stderr = process.stderr.take().unwrap();
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0);
        if line.contains("configuration reloaded") {
            break;
        }
    }
    process.signal("INT");
    assert!(process.ended().await.success());
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_decision() {
    let config = Config::new(&api_keys(&["one"]));
    let mut process = Process::start(&config.path(), "claimgate=debug");
    let mut envoy = Envoy::new(&process.grpc).await;
    // Some 300 bytes a line: twice what a pipe holds.
    for _ in 0..500 {
        assert!(envoy.allows("one").await);
    }
    drop(envoy);
    process.signal("TERM");
    assert!(process.ended().await.success());
}

#[tokio::test]
async fn a_start_that_cannot_succeed_says_why_in_one_line() {
    let taken = free_port().await.local_addr().unwrap();
    let _taken = TcpListener::bind(taken).await.unwrap();
    let good = "auth:\n  api_keys:\n    - {name: a, key: k}\n";
    let grpc = |grpc: &str| format!("server:\n  grpc: {grpc}\n{good}");
    let config = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        std::fs::write(folder.path().join("text.pem"), "no certificate").unwrap();
        folder
    };
    let tls = "{address: '127.0.0.1:0', tls: {cert_file: $/text.pem, key_file: $/missing.pem}}";
    let cases: &[(String, &[&str])] = &[
        (grpc(&format!("{{address: '{taken}'}}")), &["server.grpc.address", "already in use"]),
        (
            format!(
                "server:\n  grpc: {{address: '127.0.0.1:0'}}\n  admin: {{address: '{taken}'}}\n{good}"
            ),
            &["server.admin.address", "already in use"],
        ),
        (grpc(tls), &["server.grpc.tls.cert_file", "text.pem", "server.grpc.tls.key_file"]),
        (grpc("{address: 'unix:/missing/folder/a.sock'}"), &["/missing/folder", "create"]),
        (
            "auth:\n  api_keys:\n    - {name: a, key: '${CLAIMGATE_UNSET}'}\n".into(),
            &["CLAIMGATE_UNSET", "auth.api_keys[0].key"],
        ),
        ("auth: [\n".into(), &["gateway.yaml"]),
        ("auth:\n  mode: both\n  api_keyz: []\n".into(), &["auth.mode", "auth.api_keyz"]),
    ];
    for (text, needles) in cases {
        let folder = config(text);
        let path = folder.path().join("gateway.yaml");
        let text = text.replace('$', &folder.path().display().to_string());
        if !text.contains("CLAIMGATE_UNSET") {
            std::fs::write(&path, text).unwrap();
        }
        let (status, stdout, stderr) = finish(Process::command(&path));
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{stderr}");
        for needle in *needles {
            assert!(stderr.contains(needle), "{needle} is not in {stderr}");
        }
    }
    let (status, _, stderr) = finish(Process::command(Path::new("/missing/gateway.yaml")));
    assert_eq!((status.code(), stderr.lines().count()), (Some(1), 1));
    assert!(stderr.contains("/missing/gateway.yaml"), "{stderr}");
}

fn finish(mut command: Command) -> (ExitStatus, String, String) {
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap(), stdout, stderr)
}
