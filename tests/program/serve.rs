//! The whole service from its config file on: in this process where commands
//! can be given by hand, as a process of its own where signals and exit codes
//! matter.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use claimgate::app::{Ended, server::Drained, signals::Command};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    authority::{Authority, dns},
    envoy::{self, channel, check_token},
    folder::Folder,
    http,
    issuer::{Issuer, JWKS},
    ports::Reserved,
    process::{self, Process},
    service::Service,
    wait::{LIMIT, eventually},
};

/// A folder with a `gateway.yaml` on free ports.
struct Config {
    folder: Folder,
    /// What else `server.grpc` holds.
    grpc: String,
}

impl Config {
    fn new(auth: &str) -> Self {
        let config = Self { folder: Folder::new(""), grpc: String::new() };
        config.write(auth);
        config
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.at(name)
    }

    fn path(&self) -> PathBuf {
        self.folder.config()
    }

    fn write(&self, auth: &str) {
        self.write_all("", auth);
    }

    fn write_all(&self, server: &str, auth: &str) {
        let grpc = format!("grpc: {{address: '127.0.0.1:0'{}}}", self.grpc);
        let admin = "admin: {address: '127.0.0.1:0'}";
        let text = format!("server:\n  {grpc}\n  {admin}\n{server}auth:\n{auth}");
        self.folder.write("gateway.yaml", text);
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
struct Running(Service);

impl Running {
    async fn start(config: &Config) -> Self {
        Self(Service::start(&config.path()).await)
    }

    async fn stop(self) -> Ended {
        self.0.stop().await
    }

    async fn envoy(&self) -> Envoy {
        Envoy::new(&self.0.grpc).await
    }

    async fn readyz(&self) -> (u16, String) {
        http::fetch(&self.0.admin, "/readyz").await
    }

    async fn is_ready(&self) -> bool {
        self.readyz().await.0 == 200
    }

    async fn metric(&self, series: &str) -> f64 {
        http::metric(&self.0.admin, series).await
    }

    async fn reloads(&self, result: &str) -> usize {
        let series = format!("claimgate_config_reloads_total{{result=\"{result}\"}}");
        self.metric(&series).await as usize
    }

    async fn health(&self) -> ServingStatus {
        let mut client = HealthClient::new(channel(&self.0.grpc).await);
        client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
    }
}

/// A client that asks like Envoy does.
#[derive(Clone)]
struct Envoy(envoy::Client);

impl Envoy {
    async fn new(address: &str) -> Self {
        Self(envoy::connect(address).await)
    }

    async fn ask(&mut self, token: &str) -> Result<CheckResponse, tonic::Status> {
        Ok(self.0.check(check_token(token)).await?.into_inner())
    }

    /// The gRPC code in the answer: 0 allows.
    async fn code(&mut self, token: &str) -> i32 {
        envoy::code(&self.ask(token).await.unwrap())
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

#[tokio::test]
async fn a_good_file_takes_effect_and_a_bad_one_does_not() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    let mut envoy = service.envoy().await;
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
async fn a_command_reloads_what_has_not_changed() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    for reloads in 1..=3 {
        service.0.commands.send(Command::Reload).await.unwrap();
        eventually("it was reloaded", async || service.reloads("success").await == reloads).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_changes() {
    let config = Config::new(&api_keys(&["one"]));
    let service = Running::start(&config).await;
    let (done, flow) = flow(&service.0.grpc, "one");
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
    let issuing = Issuer::start().await;
    let config = Config::new(&issuer(&issuing.url, "one"));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;
    assert_eq!(issuing.fetches(), 1);

    config.write(&issuer(&issuing.url, "two"));
    eventually("it was reloaded", async || service.reloads("success").await == 1).await;
    assert_eq!(issuing.fetches(), 1, "another audience needs no other keys");

    let other = Issuer::start().await;
    config.write(&issuer(&other.url, "two"));
    eventually("it was reloaded", async || service.reloads("success").await == 2).await;
    assert_eq!(other.fetches(), 1, "fetched before the reload took effect");
    assert_eq!(issuing.fetches(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_new_issuer_that_is_down_changes_nobodys_readiness() {
    let issuing = Issuer::start().await;
    let config = Config::new(&issuer(&issuing.url, "one"));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;

    let reserved = Reserved::new();
    let down = reserved.address;
    config.write(&issuer(&format!("http://{down}"), "one"));
    eventually("it was reloaded", async || service.reloads("success").await == 1).await;
    assert!(service.is_ready().await);
    service.stop().await;
}

#[tokio::test]
async fn readiness_waits_for_the_keys_and_ends_with_the_drain() {
    let later = Reserved::new();
    let address = later.address;
    let config = Config::new(&issuer(&format!("http://{address}"), "api"));
    let service = Running::start(&config).await;
    let (status, missing) = service.readyz().await;
    assert_eq!(status, 503);
    assert!(missing.contains("no signing keys yet"), "{missing}");
    assert_eq!(service.health().await, ServingStatus::NotServing);

    let _issuer = Issuer::on(later.listen());
    eventually("it is ready", async || service.is_ready().await).await;
    eventually("health says so", async || service.health().await == ServingStatus::Serving).await;

    // A connection keeps the drain from being over at once.
    let mut watcher = HealthClient::new(channel(&service.0.grpc).await);
    let request = HealthCheckRequest::default();
    let mut states = watcher.watch(request).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    service.0.commands.send(Command::Stop).await.unwrap();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(service.readyz().await, (503, "shutting down\n".into()));
    service.0.commands.send(Command::Stop).await.unwrap();
    assert_eq!(timeout(LIMIT, service.0.app).await.unwrap().unwrap(), Ended::Interrupted);
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
    let authority = Authority::new();
    let mut config = Config::new(&api_keys(&["one"]));
    let write = |name: &str, text: String| config.folder.write(name, text);
    let (first, first_key) = authority.issue(dns("localhost"));
    write("tls.crt", first.pem());
    write("tls.key", first_key.serialize_pem());
    config.grpc = format!(
        ", tls: {{cert_file: {}, key_file: {}}}",
        config.at("tls.crt").display(),
        config.at("tls.key").display()
    );
    config.write(&api_keys(&["one"]));
    let service = Running::start(&config).await;

    let connector = TlsConnector::from(Arc::new(authority.client().with_no_client_auth()));
    let presented = async || {
        let stream = TcpStream::connect(&service.0.grpc).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_eq!(presented().await, *first.der());

    let write = |name: &str, text: String| config.folder.write(name, text);
    let (second, second_key) = authority.issue(dns("localhost"));
    write("tls.crt", second.pem());
    eventually("the mismatch is counted", async || service.reloads("failure").await == 1).await;
    assert_eq!(presented().await, *first.der());
    write("tls.key", second_key.serialize_pem());
    eventually("it is served", async || presented().await == *second.der()).await;
    service.stop().await;
}

#[tokio::test]
async fn authentication_that_is_off_needs_nobodys_keys() {
    let reserved = Reserved::new();
    let down = reserved.address;
    let config =
        Config::new(&format!("  enabled: false\n{}", issuer(&format!("http://{down}"), "a")));
    let service = Running::start(&config).await;
    eventually("it is ready", async || service.is_ready().await).await;
    assert!(service.envoy().await.allows("anything").await);
    service.stop().await;
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
    assert!(start.elapsed() < Duration::from_secs(5), "no call is left to wait for");
    let log: Vec<_> = process.log().collect();
    let messages: Vec<_> = log.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(
        messages,
        ["status page is on", "ready", "signal received", "shutting down", "drained"]
    );
    for line in log {
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    // An issuer that accepts and never answers makes a check wait.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let mut log = process.log();
    assert!(log.any(|line| line["message"] == "configuration reloaded"));
    process.signal("INT");
    assert!(process.ended().await.success());
}

#[tokio::test]
async fn warnings_are_logged_with_their_position_and_shown() {
    let config = Config::new(&api_keys(&["a-key-of-twenty-bytes"]));
    let mut process = Process::start(&config.path(), "info");
    let path = config.path().display().to_string();
    config.write(&(api_keys(&["a-key-of-twenty-bytes"]) + "  required_scopes: [read write]\n"));
    process.signal("HUP");
    let mut log = process.log();
    let told = format!("{path}:7:21: auth.required_scopes[0]: `read write` holds a space");
    let is_it = |line: &Value| line["message"].as_str().is_some_and(|it| it.starts_with(&told));
    let line = log.find(is_it).expect("the warning");
    assert_eq!(line["level"], "WARN");
    assert!(log.any(|line| line["message"] == "configuration reloaded"));
    let report: Value =
        serde_json::from_str(&http::fetch(&process.admin, "/status.json").await.1).unwrap();
    let warnings = report["config"]["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(&told), "{report}");
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
    let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listening.local_addr().unwrap();
    let good = "auth:\n  api_keys:\n    - {name: a, key: a-key-of-twenty-bytes}\n";
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
        let ended = process::Ended::of(process::serve(&path));
        let stderr = ended.stderr;
        assert_eq!(ended.code, 1, "{stderr}");
        assert_eq!((ended.stdout.as_str(), stderr.lines().count()), ("", 1), "{stderr}");
        for needle in *needles {
            assert!(stderr.contains(needle), "{needle} is not in {stderr}");
        }
    }
    let ended = process::Ended::of(process::serve(Path::new("/missing/gateway.yaml")));
    let stderr = ended.stderr;
    assert_eq!((ended.code, stderr.lines().count()), (1, 1));
    assert!(stderr.contains("/missing/gateway.yaml"), "{stderr}");
}
